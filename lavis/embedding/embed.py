"""Embeds a split with the same result to the last bit for any number of processes.

Images and distinct captions are divided into canonical chunks of batch_size rows. Process c modulo world embeds chunk
c, so that the model always sees the same batches, and the chunks are gathered in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from tqdm import tqdm

from lavis.common import distributed
from lavis.common.transfer import to_device
from lavis.datasets.loaders import chunk_count, eval_loader
from lavis.datasets.pairs import PairDataset

PIECE = 8192  # rows in double precision at a time


class Embedder(Protocol):
    """What retrieval evaluation needs of a model."""

    def tokenize(self, captions: list[str]) -> torch.Tensor: ...

    def encode_image(self, images: torch.Tensor) -> torch.Tensor: ...

    def encode_text(self, tokens: torch.Tensor) -> torch.Tensor: ...


@dataclass(frozen=True, slots=True)
class SplitFeatures:
    """One split's embeddings, float32, L2-normalised, on the CPU.

    image (n_img, D); text (n_txt, D), one row per caption; txt2img (n_txt,) int64, the image of each caption;
    text_group (n_txt,) int64, the same number for equal strings.
    """

    image: torch.Tensor
    text: torch.Tensor
    txt2img: torch.Tensor
    text_group: torch.Tensor

    @property
    def paired_cosines(self) -> torch.Tensor:
        """Cosine of every caption with its own image, (n_txt,) float64, in pieces to save memory."""
        pieces = zip(self.txt2img.split(PIECE), self.text.split(PIECE), strict=True)
        return torch.cat([(self.image[rows].double() * text.double()).sum(dim=1) for rows, text in pieces])


def embed_entries(
    model: Embedder,
    dataset: PairDataset,
    batch_size: int,
    device: torch.device | str,
    *,
    num_workers: int = 0,
    amp_dtype: torch.dtype | None = None,
    name: str = "",
) -> SplitFeatures:
    """Embed every image and every distinct caption of a data set once, in evaluation mode, without gradients.

    All processes must call it together; all of them receive all rows. amp_dtype turns autocast on. `name` labels the
    progress bar, which is hidden unless stderr is a terminal. The model's mode is restored.
    """
    device = torch.device(device)
    cast = nullcontext() if amp_dtype is None else torch.autocast(device.type, dtype=amp_dtype)
    with cast:
        image = embed_images(model, dataset, batch_size, device, num_workers=num_workers, name=name)
        text = embed_captions(model, dataset.captions, batch_size, device, name=name)
    return split_features(dataset, image, text)


def split_features(dataset: PairDataset, image: torch.Tensor, text: torch.Tensor) -> SplitFeatures:
    """Combine a data set's image rows (n_img, D) and caption rows (n_txt, D), both in its order."""
    return SplitFeatures(image, text, *pair_maps(dataset))


def pair_maps(dataset: PairDataset) -> tuple[torch.Tensor, torch.Tensor]:
    """A data set's txt2img and text_group, both (n_txt,) int64."""
    counts = torch.tensor([len(dataset.caption_ids(i)) for i in range(len(dataset))])
    return torch.repeat_interleave(torch.arange(len(dataset)), counts), distinct_texts(dataset.captions)[1]


def embed_images(
    model: Embedder,
    dataset: PairDataset,
    batch_size: int,
    device: torch.device | str,
    *,
    num_workers: int = 0,
    name: str = "",
    epoch: int = 0,
) -> torch.Tensor:
    """Embed a data set's images as they are in this epoch, (n, D) float32, L2-normalised, on the CPU."""
    with evaluating(model), torch.no_grad():
        return _gathered(image_chunks(model, dataset, batch_size, torch.device(device), num_workers, name, epoch))


def embed_pixels(
    model: Embedder,
    fetch: Callable[[range], torch.Tensor],
    n: int,
    batch_size: int,
    device: torch.device | str,
    *,
    name: str = "",
) -> torch.Tensor:
    """Embed n images like `embed_images`; `fetch` returns consecutive ones as uint8 (B, 3, S, S).

    The next batch is fetched while the model works on the current one.
    """
    with evaluating(model), torch.no_grad():
        return _gathered(_pixel_chunks(model, fetch, n, batch_size, torch.device(device), name))


def embed_captions(
    model: Embedder, captions: Sequence[str], batch_size: int, device: torch.device | str, *, name: str = ""
) -> torch.Tensor:
    """Embed captions, each distinct string once, (n, D) float32, L2-normalised, on the CPU."""
    distinct, group = distinct_texts(captions)
    with evaluating(model), torch.no_grad():
        rows = _gathered(text_chunks(model, distinct, batch_size, torch.device(device), name))
    return rows[group]


def _pixel_chunks(
    model: Embedder, fetch: Callable[[range], torch.Tensor], n: int, size: int, device: torch.device, name: str
) -> Iterator[tuple[int, torch.Tensor]]:
    chunks = _own_chunks(n, size)
    parts = [range(c * size, min(n, (c + 1) * size)) for c in chunks]
    with ThreadPoolExecutor(1) as pool:
        upcoming = pool.submit(fetch, parts[0]) if parts else None
        for number, chunk in enumerate(progress_bar(chunks, len(chunks), f"{name} images".strip())):
            assert upcoming is not None
            pixels = upcoming.result()
            upcoming = pool.submit(fetch, parts[number + 1]) if number + 1 < len(parts) else None
            yield int(chunk), model.encode_image(to_device(pixels, device))


def image_chunks(
    model: Embedder,
    dataset: PairDataset,
    batch_size: int,
    device: torch.device,
    num_workers: int,
    name: str,
    epoch: int = 0,
) -> Iterator[tuple[int, torch.Tensor]]:
    """This process's canonical chunks of a data set's images in this epoch: (number, the model's output (B, D))."""
    chunks = _own_chunks(len(dataset), batch_size)
    loader = eval_loader(dataset, batch_size, num_workers, chunks, pin_memory=device.type == "cuda", epoch=epoch)
    for batch in progress_bar(loader, len(chunks), f"{name} images".strip()):
        yield int(batch["chunk"]), model.encode_image(to_device(batch["images"], device))


def text_chunks(
    model: Embedder, captions: list[str], batch_size: int, device: torch.device, name: str
) -> Iterator[tuple[int, torch.Tensor]]:
    """This process's canonical chunks of captions, like `image_chunks`."""
    chunks = _own_chunks(len(captions), batch_size)
    for chunk in progress_bar(chunks, len(chunks), f"{name} captions".strip()):
        tokens = model.tokenize(captions[chunk * batch_size : (chunk + 1) * batch_size])
        yield chunk, model.encode_text(to_device(tokens, device))


def _gathered(chunks: Iterable[tuple[int, torch.Tensor]]) -> torch.Tensor:
    """Normalised rows of all processes' chunks in order, (n, D) float32 on the CPU."""
    return distributed.gather_chunks({number: unit(rows) for number, rows in chunks})


def unit(rows: torch.Tensor) -> torch.Tensor:
    """Rows (n, D) in the form for comparison: float32, L2-normalised, on the CPU."""
    return F.normalize(rows.float(), dim=-1).cpu()


def _own_chunks(n: int, batch_size: int) -> list[int]:
    return list(range(distributed.rank(), chunk_count(n, batch_size), distributed.world_size()))


def distinct_texts(captions: Sequence[str]) -> tuple[list[str], torch.Tensor]:
    """Distinct strings in order of first occurrence, and each caption's position among them, (n,) int64."""
    numbers: dict[str, int] = {}
    group = [numbers.setdefault(caption, len(numbers)) for caption in captions]
    return list(numbers), torch.tensor(group, dtype=torch.int64)


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Put the model into evaluation mode, if it has modes, and restore its mode at the end."""
    training, train = getattr(model, "training", False), getattr(model, "train", None)
    if training and train is not None:
        train(False)
    try:
        yield
    finally:
        if training and train is not None:
            train(True)


def progress_bar(items: Iterable, total: int, label: str, unit: str = "batch") -> Iterable:
    """A progress bar on the main process, hidden unless stderr is a terminal."""
    hidden = None if distributed.is_main() else True  # None: hidden unless stderr is a terminal
    return tqdm(items, total=total, desc=label, unit=unit, leave=False, disable=hidden)
