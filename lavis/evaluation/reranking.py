"""Recall of a model that matches: candidates by cosine, the best of them ranked anew by the matching head.

ALBEF (arXiv 2107.07651, section 5) and BLIP rank so: a query's k best candidates by cosine get the score
match logit + cosine, all others one score below these. The rules for ties and NaN are those of
lavis.evaluation.ranking: a right candidate that is not among the k best ties with all that are not, and loses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from lavis.common import distributed
from lavis.datasets.loaders import eval_loader
from lavis.datasets.pairs import PairDataset
from lavis.embedding.embed import SplitFeatures, evaluating
from lavis.evaluation.ranking import MISSED
from lavis.evaluation.recall import recall_summary
from lavis.settings.schema import RunConfig

Match = Callable[[int, torch.Tensor], torch.Tensor]  # query, candidates (k,) to match logits (k,)


class Matcher(Protocol):
    """What a model needs to rank candidates again; what `*_states_of` give has `features`, `states` and `mask`."""

    def image_states_of(self, images: torch.Tensor) -> Any: ...

    def text_states_of(self, tokens: torch.Tensor, mask: torch.Tensor) -> Any: ...

    def ranking_tokens(self, captions: list[str]) -> Any: ...

    def match(self, images: Any, texts: Any) -> torch.Tensor: ...


def matched_recall(
    model: Matcher, dataset: PairDataset, part: SplitFeatures, run: RunConfig, device: torch.device
) -> dict[str, float]:
    """Recall in percent (the names of `recall_summary`) of a split with the features `part`.

    run.k_test candidates a query are matched; run.merge_equal_captions as for cosines. The states of all images and
    distinct captions are held on the CPU. Queries are divided among the processes, which must call it together and
    all receive the same.
    """
    owners = Owners(
        part.txt2img.numpy(), part.text_group.numpy() if run.merge_equal_captions else None, len(part.image)
    )
    with evaluating(model), torch.no_grad():
        pairs = _Pairs(model, dataset, part, run.batch_size_eval, device)
        texts = _ranks(part.image, part.text, owners.texts, run.k_test, pairs.match_image)
        images = _ranks(part.text, part.image, owners.images, run.k_test, pairs.match_text)
    return recall_summary(*(distributed.sum_counts(torch.from_numpy(ranks)).numpy() for ranks in (texts, images)))


class Owners:
    """Which texts are right for which images: those that it bears, or (merged) equal ones.

    Args: txt2img (n_txt,), text_group (n_txt,) or None where every text is its own group, n_img.
    """

    def __init__(self, txt2img: np.ndarray, text_group: np.ndarray | None, n_img: int) -> None:
        self.group = np.arange(len(txt2img)) if text_group is None else text_group
        self.width = int(self.group.max(initial=-1)) + 1
        self.borne = np.unique(txt2img * self.width + self.group)  # image and group in one number
        size = np.bincount(self.group, minlength=self.width)
        self.own_texts = np.bincount(self.borne // self.width, size[self.borne % self.width], n_img).astype(int)
        self.bearers = np.bincount(self.borne % self.width, minlength=self.width)

    def texts(self, image: int, candidates: np.ndarray) -> tuple[np.ndarray, int]:
        """Which candidate texts are right for an image, (k,) bool, and how many texts are in all."""
        return self._borne(image * self.width + self.group[candidates]), int(self.own_texts[image])

    def images(self, text: int, candidates: np.ndarray) -> tuple[np.ndarray, int]:
        """Which candidate images are right for a text, (k,) bool, and how many images are in all."""
        group = self.group[text]
        return self._borne(candidates * self.width + group), int(self.bearers[group])

    def _borne(self, numbers: np.ndarray) -> np.ndarray:
        place = np.searchsorted(self.borne, numbers)
        return self.borne[np.minimum(place, len(self.borne) - 1)] == numbers


def _ranks(queries: torch.Tensor, candidates: torch.Tensor, owned: Callable, k: int, match: Match) -> np.ndarray:
    """Rank of each query's best right candidate among all, (n,) int64; 0 for queries of other processes."""
    ranks = np.zeros(len(queries), dtype=np.int64)
    own = range(distributed.rank(), len(queries), distributed.world_size())
    for query in _bar(own, "matching"):
        cosines = candidates @ queries[query]
        best = cosines.topk(min(k, len(cosines)))
        scores = (match(query, best.indices).float().cpu() + best.values).numpy()
        right, total = owned(query, best.indices.numpy())
        ranks[query] = rank_of(scores, right, len(candidates) - total)
    return ranks


def rank_of(scores: np.ndarray, right: np.ndarray, competitors: int) -> int:
    """Rank (0 is first) of the best right one of the candidates scored (k,) among all `competitors`.

    The competitors that are not among these candidates score less than they do. A tie is lost, and so is a
    comparison with NaN; without a right candidate all competitors come first; a NaN of its own is MISSED.
    """
    if not right.any():
        return competitors
    own = scores[right]
    if np.isnan(own).all():
        return MISSED
    others = scores[~right]
    return int(len(others) - np.count_nonzero(others < np.nanmax(own)))


class _Pairs:
    """States of every image and every distinct caption of a split, and the match logits of any pairs of them."""

    def __init__(
        self, model: Matcher, dataset: PairDataset, part: SplitFeatures, batch_size: int, device: torch.device
    ) -> None:
        self.model, self.device, self.group = model, device, part.text_group
        first = {int(group): text for group, text in zip(part.text_group, dataset.captions, strict=True)}
        distinct = [first[number] for number in range(len(first))]
        loader = eval_loader(dataset, batch_size)
        self.images = _stacked(
            model.image_states_of(batch["images"].to(device)) for batch in _bar(loader, "image states")
        )
        self.texts = _stacked(
            self._texts(distinct[start : start + batch_size]) for start in range(0, len(distinct), batch_size)
        )

    def match_image(self, image: int, texts: torch.Tensor) -> torch.Tensor:
        """Logits of an image with texts (k,)."""
        return self.model.match(self._take(self.images, torch.full_like(texts, image)), self._text_rows(texts))

    def match_text(self, text: int, images: torch.Tensor) -> torch.Tensor:
        """Logits of a text with images (k,)."""
        return self.model.match(self._take(self.images, images), self._text_rows(torch.full_like(images, text)))

    def _texts(self, captions: list[str]) -> Any:
        found = self.model.ranking_tokens(captions)
        return self.model.text_states_of(found.ids.to(self.device), found.mask.to(self.device))

    def _text_rows(self, rows: torch.Tensor) -> Any:
        return self._take(self.texts, self.group[rows])

    def _take(self, side: Any, rows: torch.Tensor) -> Any:
        parts = (side.features, side.states, side.mask)
        return type(side)(*(None if part is None else part[rows].to(self.device) for part in parts))


def _stacked(sides: Iterable[Any]) -> Any:
    """Batches of sides as one on the CPU; texts of other lengths are filled up behind their mask."""
    found = list(sides)
    parts = zip(*((side.features.cpu(), side.states.cpu(), _cpu(side.mask)) for side in found), strict=True)
    return type(found[0])(*(None if part[0] is None else _filled(part) for part in parts))


def _cpu(tensor: torch.Tensor | None) -> torch.Tensor | None:
    return None if tensor is None else tensor.cpu()


def _filled(parts: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Tensors (B_i, L_i, …) below one another, filled up with zeros to the greatest L."""
    longest = max(part.shape[1] for part in parts)
    return torch.cat([F.pad(part, (*(0, 0) * (part.ndim - 2), 0, longest - part.shape[1])) for part in parts])


def _bar(items: Any, label: str) -> Iterable:
    silent = None if distributed.is_main() else True  # None: silent where stderr is no terminal
    return tqdm(items, desc=label, leave=False, disable=silent)
