"""A model's embeddings of images and captions, each computed once for all splits and metrics that need it."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch

from lavis.common import distributed
from lavis.common.checkpoint import weights_digest
from lavis.common.errors import DataError
from lavis.common.precision import embedded_in, embedding
from lavis.common.secrets import secret_of
from lavis.datasets.annotations import Entry
from lavis.datasets.builder import PairBuilder
from lavis.datasets.pairs import PairDataset
from lavis.embedding.embed import (
    Embedder,
    SplitFeatures,
    embed_captions,
    embed_images,
    embed_pixels,
    split_features,
)
from lavis.embedding.feature_store import FOLDER, SUFFIX, FeatureStore, key_of
from lavis.embedding.row_table import RowTable
from lavis.settings.schema import RunConfig

AUTO = "auto"


class ImageSource(Protocol):
    """Images outside the data set: `keys` identify their files, `pixels` decodes some, uint8 (B, 3, S, S)."""

    keys: list[str]

    def pixels(self, numbers: Sequence[int]) -> torch.Tensor: ...


class FeatureBank:
    """Embeddings of one builder's data by one model, float32, L2-normalised, on the CPU.

    Args:
        run: only batch_size_eval, num_workers, attention, embed_amp, amp_dtype and feature_cache_gb matter.
        folder: where rows are stored between evaluations (None: not at all).
        precision: name of the model's own arithmetic, part of the file name; None: run.embed_amp decides.

    All processes must call it together; all of them receive all rows.
    """

    def __init__(
        self,
        model: Embedder,
        builder: PairBuilder,
        run: RunConfig,
        device: torch.device | str,
        *,
        folder: Path | None = None,
        precision: str | None = None,
    ) -> None:
        self.model, self.builder, self.run, self.device = model, builder, run, torch.device(device)
        self.folder, self.precision = folder, precision or embedded_in(run, self.device)
        self._casts = precision is None
        self._datasets: dict[bytes, PairDataset] = {}
        self._store: FeatureStore | None = None

    def dataset(self, entries: Sequence[Entry]) -> PairDataset:
        """A data set of these entries with the evaluation processors. Equal entries give the same object."""
        digest = hashlib.blake2b(digest_size=16)
        for entry in entries:
            digest.update(repr((entry.image, entry.captions)).encode("utf-8", "surrogatepass"))
        key = digest.digest()
        if key not in self._datasets:
            self._datasets[key] = self.builder.dataset(entries, "eval")
        return self._datasets[key]

    def embed(self, splits: Sequence[Sequence[Entry]]) -> None:
        """Embed the images of several splits in one pass."""
        distinct = {entry.image: entry for entries in splits for entry in entries}
        if distinct:
            self.images(self.dataset(list(distinct.values())), "images")

    def split(self, name: str, entries: Sequence[Entry]) -> SplitFeatures:
        """The features of a split. Raises DataError if it has no pairs."""
        if not entries:
            raise DataError(f"split '{name}' has no pairs to evaluate; check its annotation file")
        dataset = self.dataset(entries)
        return split_features(dataset, self.images(dataset, name), self.texts(dataset.captions, name))

    def images(self, dataset: PairDataset, name: str = "") -> torch.Tensor:
        """Rows (n, D) of a data set's images, in order."""
        names = [entry.image for entry in dataset.entries]
        keys = [self.key("image", image, *self._stamp(image)) for image in names]
        size, workers = self.run.batch_size_eval, self.run.num_workers

        def embed(missing: list[int]) -> torch.Tensor:
            part = dataset if len(missing) == len(names) else self.dataset([dataset.entries[i] for i in missing])
            return embed_images(self.model, part, size, self.device, num_workers=workers, name=name)

        return self.rows(keys, embed)

    def texts(self, captions: Sequence[str], name: str = "", *, store: bool = True) -> torch.Tensor:
        """Rows (n, D) of captions, to which no text processor is applied. store=False: new ones are not remembered."""

        def embed(missing: list[int]) -> torch.Tensor:
            part = [captions[i] for i in missing]
            return embed_captions(self.model, part, self.run.batch_size_eval, self.device, name=name)

        return self.rows([self.key("text", caption) for caption in captions], embed, store=store)

    def images_from(self, source: ImageSource, name: str = "") -> torch.Tensor:
        """Rows (n, D) of images outside the data set."""

        def embed(missing: list[int]) -> torch.Tensor:
            def fetch(rows: range) -> torch.Tensor:
                return source.pixels(missing[rows.start : rows.stop])

            return embed_pixels(self.model, fetch, len(missing), self.run.batch_size_eval, self.device, name=name)

        return self.rows([self.key("picture", key) for key in source.keys], embed)

    def key(self, *parts: Any) -> bytes:
        """The key of an input: a hash of these facts, keyed by the secret of the cache."""
        return key_of(self._secret, *parts)

    @functools.cached_property
    def _secret(self) -> bytes:
        """Rank 0's, as all processes must find the same rows missing."""
        return cache_secret(self.folder, self.run)

    def rows(
        self, keys: list[bytes], embed: Callable[[list[int]], torch.Tensor], *, store: bool = True
    ) -> torch.Tensor:
        """Rows (n, D) by key. `embed` takes the positions of missing keys and returns their rows."""
        first: dict[bytes, int] = {}
        for position, key in enumerate(keys):
            first.setdefault(key, position)
        missing = [position for key, position in first.items() if key not in self.store.rows]
        table = self.store.rows if store else RowTable()
        known = [] if store else [key for key in first if key in self.store.rows]
        if known:
            table.add(known, self.store.take(known))
        if missing:
            with self.computing():
                (self.store if store else table).add([keys[position] for position in missing], embed(missing))
        return table.take(keys)

    def computing(self) -> AbstractContextManager:
        """A model in here embeds in the bank's precision."""
        return embedding(self.run, self.device) if self._casts else nullcontext()

    def save(self) -> None:
        """Store the rows for the next evaluation if there is a folder (on rank 0 only)."""
        if distributed.is_main() and self._store is not None:
            self._store.save()

    @property
    def store(self) -> FeatureStore:
        """Rows by key, starting with those of earlier evaluations. Rank 0 reads the file and broadcasts it."""
        if self._store is None:
            self._store = FeatureStore(self._path(), 1e9 * self.run.feature_cache_gb)
            if distributed.is_main():
                self._store.load()
            self._store.share(distributed.broadcast_tensor)
        return self._store

    def _stamp(self, image: str) -> tuple[int, int]:
        """Size and time of an image's file. Without a folder, rows do not outlive the run and nothing is checked."""
        return (0, 0) if self.folder is None else self.builder.store.stamp(image)

    def _path(self) -> Path | None:
        if self.folder is None:
            return None
        weights = getattr(self.model, "checkpoint_state", self.model.state_dict)()  # type: ignore[attr-defined]
        run, config = self.run, self.builder.config
        facts = [type(self.model).__name__, getattr(self.model, "recipe", ""), self.model, self.precision]
        facts += [self.device.type, run.attention, self.builder.image_root.resolve()]
        facts += [config.vis_processor.eval, config.text_processor.eval]
        return self.folder / f"{weights_digest(weights)}-{self.key(*facts).hex()[:16]}{SUFFIX}"


def cache_secret(folder: Path | None, run: RunConfig) -> bytes:
    """The secret that keys a cache: that of the output folder, or of the cache itself if it lies elsewhere.

    All processes call it and get rank 0's. A cache in memory (None) needs none.
    """
    if folder is None:
        return b""
    output = Path(run.output_dir)
    inside = folder.absolute().is_relative_to(output.absolute())
    return distributed.from_main(lambda: secret_of(output if inside else folder))


def cache_folder(run: RunConfig) -> Path | None:
    """The folder where run.feature_cache stores embeddings; None if it is off."""
    if run.feature_cache == AUTO:
        return Path(run.output_dir) / FOLDER
    return Path(run.feature_cache) if run.feature_cache else None
