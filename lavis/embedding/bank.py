"""A model's embeddings by picture and caption: each is made once, whichever splits and metrics ask for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from lavis.common import distributed
from lavis.common.checkpoint import weights_digest
from lavis.common.errors import DataError
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
from lavis.embedding.feature_store import SUFFIX, FeatureStore, key_of
from lavis.settings.schema import RunConfig

AUTO = "auto"


class Pictures(Protocol):
    """Pictures that are no entries of a data set: `keys` says what each is made from, `pixels` decodes some."""

    keys: list[str]

    def pixels(self, numbers: Sequence[int]) -> torch.Tensor: ...


class FeatureBank:
    """Rows of one model over one builder's data, float32, L2-normalised, on the CPU.

    Args:
        run: batch_size_eval, num_workers and attention are read. folder: where rows are kept between evaluations;
        None keeps none. precision: names the arithmetic, for the file's name.

    All processes must use it together and all receive everything.
    """

    def __init__(
        self,
        model: Embedder,
        builder: PairBuilder,
        run: RunConfig,
        device: torch.device | str,
        *,
        folder: Path | None = None,
        precision: str = "fp32",
    ) -> None:
        self.model, self.builder, self.run, self.device = model, builder, run, torch.device(device)
        self.folder, self.precision = folder, precision
        self._datasets: dict[tuple[Any, ...], PairDataset] = {}
        self._store: FeatureStore | None = None

    def dataset(self, entries: Sequence[Entry]) -> PairDataset:
        """These entries with the processors of evaluation; the same ones give the same object."""
        names = tuple((entry.image, entry.captions) for entry in entries)
        if names not in self._datasets:
            self._datasets[names] = self.builder.dataset(entries, "eval")
        return self._datasets[names]

    def embed(self, splits: Sequence[Sequence[Entry]]) -> None:
        """Embed the pictures of several splits in one pass."""
        distinct = {entry.image: entry for entries in splits for entry in entries}
        if distinct:
            self.images(self.dataset(list(distinct.values())), "images")

    def split(self, name: str, entries: Sequence[Entry]) -> SplitFeatures:
        """A split's features. Raises DataError when it has no pairs."""
        if not entries:
            raise DataError(f"split '{name}' has no pairs to evaluate; check its annotation file")
        dataset = self.dataset(entries)
        return split_features(dataset, self.images(dataset, name), self.texts(dataset.captions, name))

    def images(self, dataset: PairDataset, name: str = "") -> torch.Tensor:
        """Rows (n, D) of a data set's pictures, in its order."""
        names = [entry.image for entry in dataset.entries]
        keys = [key_of("image", image, *self._stamp(image)) for image in names]
        size, workers = self.run.batch_size_eval, self.run.num_workers

        def embed(missing: list[int]) -> torch.Tensor:
            part = dataset if len(missing) == len(names) else self.dataset([dataset.entries[i] for i in missing])
            return embed_images(self.model, part, size, self.device, num_workers=workers, name=name)

        return self.rows(keys, embed)

    def texts(self, captions: Sequence[str], name: str = "") -> torch.Tensor:
        """Rows (n, D) of captions as they stand."""

        def embed(missing: list[int]) -> torch.Tensor:
            wanted = [captions[i] for i in missing]
            return embed_captions(self.model, wanted, self.run.batch_size_eval, self.device, name=name)

        return self.rows([key_of("text", caption) for caption in captions], embed)

    def pictures(self, source: Pictures, name: str = "") -> torch.Tensor:
        """Rows (n, D) of pictures from elsewhere."""

        def embed(missing: list[int]) -> torch.Tensor:
            def fetch(rows: range) -> torch.Tensor:
                return source.pixels(missing[rows.start : rows.stop])

            return embed_pixels(self.model, fetch, len(missing), self.run.batch_size_eval, self.device, name=name)

        return self.rows([key_of("picture", key) for key in source.keys], embed)

    def rows(self, keys: list[bytes], embed: Callable[[list[int]], torch.Tensor]) -> torch.Tensor:
        """Rows (n, D) by key; `embed` makes those of the keys at the positions that it is given."""
        first: dict[bytes, int] = {}
        for position, key in enumerate(keys):
            first.setdefault(key, position)
        missing = [position for key, position in first.items() if key not in self.store.rows]
        if missing:
            self.store.add([keys[position] for position in missing], embed(missing))
        return self.store.take(keys)

    def save(self) -> None:
        """Keep the rows for the next evaluation, where there is a folder; on rank 0."""
        if distributed.is_main() and self._store is not None:
            self._store.save()

    @property
    def store(self) -> FeatureStore:
        """Rows by key; those of an earlier evaluation are there from the start (rank 0 reads, all receive)."""
        if self._store is None:
            self._store = FeatureStore(self._path(), 1e9 * self.run.feature_cache_gb)
            if distributed.is_main():
                self._store.load()
            self._store.share(distributed.broadcast_tensor)
        return self._store

    def _stamp(self, image: str) -> tuple[int, int]:
        """What changes when a picture's file does. Only looked at where rows outlive the run."""
        if self.folder is None:
            return 0, 0
        return self.builder.store.stamp(image)

    def _path(self) -> Path | None:
        if self.folder is None:
            return None
        weights = getattr(self.model, "checkpoint_state", self.model.state_dict)()  # type: ignore[attr-defined]
        run, config = self.run, self.builder.config
        ways = [type(self.model).__name__, getattr(self.model, "model_type", ""), self.model, self.precision]
        ways += [self.device.type, run.attention, self.builder.image_root.resolve()]
        ways += [config.vis_processor.eval, config.text_processor.eval]
        return self.folder / f"{weights_digest(weights)}-{key_of(*ways).hex()[:16]}{SUFFIX}"


def cache_folder(run: RunConfig) -> Path | None:
    """Where run.feature_cache keeps embeddings; None where it keeps none."""
    if run.feature_cache == AUTO:
        return Path(run.output_dir) / "features"
    return Path(run.feature_cache) if run.feature_cache else None
