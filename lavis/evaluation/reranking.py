"""Recall of a model with a matching head, which re-ranks the best candidates by cosine.

This is how ALBEF (arXiv 2107.07651, section 5) and BLIP rank: a query's k best candidates by cosine get the score match
logit + cosine, all others one common lower score. The rules for ties and NaN are those of lavis.evaluation.ranking, so
a matching candidate outside the k best ties with all others there, and loses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F

from lavis.common import distributed
from lavis.datasets.loaders import eval_loader
from lavis.datasets.pairs import PairDataset
from lavis.embedding.embed import SplitFeatures, evaluating, progress_bar
from lavis.evaluation.ranking import MISSED
from lavis.evaluation.recall import recall_summary
from lavis.settings.schema import RunConfig

Match = Callable[[int, torch.Tensor], torch.Tensor]  # query, candidates (k,) to match logits (k,)


class Matcher(Protocol):
    """What re-ranking needs of a model; `*_states_of` return an object with `features`, `states` and `mask`."""

    def image_states_of(self, images: torch.Tensor) -> Any: ...

    def text_states_of(self, tokens: torch.Tensor, mask: torch.Tensor) -> Any: ...

    def ranking_tokens(self, captions: list[str]) -> Any: ...

    def match(self, images: Any, texts: Any) -> torch.Tensor: ...


def matched_recall(
    model: Matcher, dataset: PairDataset, part: SplitFeatures, run: RunConfig, device: torch.device
) -> dict[str, float]:
    """`recall_summary` of a split with the features `part`.

    run.k_test candidates per query are matched; run.merge_equal_captions works as for cosines. The states of all images
    and distinct captions stay on the CPU. Queries are divided among the processes, which must call it together; all of
    them get the same values.
    """
    group = part.text_group.numpy() if run.merge_equal_captions else None
    owners = Owners(part.txt2img.numpy(), group, len(part.image))
    with evaluating(model), torch.no_grad():
        pairs = _Pairs(model, dataset, part, run.batch_size_eval, device)
        texts = _ranks(part.image, part.text, owners.texts, run.k_test, pairs.match_image)
        images = _ranks(part.text, part.image, owners.images, run.k_test, pairs.match_text)
    return recall_summary(*(distributed.sum_counts(torch.from_numpy(ranks)).numpy() for ranks in (texts, images)))


class Owners:
    """Which texts match which images: an image's own texts and, if text_group is not None, equal ones.

    Args: txt2img (n_txt,); text_group (n_txt,), the same number for equal texts; n_img.
    """

    def __init__(self, txt2img: np.ndarray, text_group: np.ndarray | None, n_img: int) -> None:
        self.group = np.arange(len(txt2img)) if text_group is None else text_group
        self.width = int(self.group.max(initial=-1)) + 1
        self.codes = np.unique(txt2img * self.width + self.group)  # matching image and group in one number
        size = np.bincount(self.group, minlength=self.width)
        self.own_texts = np.bincount(self.codes // self.width, size[self.codes % self.width], n_img).astype(int)
        self.own_images = np.bincount(self.codes % self.width, minlength=self.width)

    def texts(self, image: int, candidates: np.ndarray) -> tuple[np.ndarray, int]:
        """Which candidate texts match an image, (k,) bool, and how many texts do in all."""
        return self._match(image * self.width + self.group[candidates]), int(self.own_texts[image])

    def images(self, text: int, candidates: np.ndarray) -> tuple[np.ndarray, int]:
        """Which candidate images match a text, (k,) bool, and how many images do in all."""
        group = self.group[text]
        return self._match(candidates * self.width + group), int(self.own_images[group])

    def _match(self, codes: np.ndarray) -> np.ndarray:
        """As np.isin, which would sort all codes for every query."""
        place = np.searchsorted(self.codes, codes)
        return self.codes[np.minimum(place, len(self.codes) - 1)] == codes


def _ranks(queries: torch.Tensor, candidates: torch.Tensor, owned: Callable, k: int, match: Match) -> np.ndarray:
    """Rank of each query's best matching candidate among all, (n,) int64; 0 for queries of other processes."""
    ranks = np.zeros(len(queries), dtype=np.int64)
    own = range(distributed.rank(), len(queries), distributed.world_size())
    for query in progress_bar(own, len(own), "matching", "query"):
        cosines = candidates @ queries[query]
        best = cosines.topk(min(k, len(cosines)))
        scores = (match(query, best.indices).float().cpu() + best.values).numpy()
        right, total = owned(query, best.indices.numpy())
        ranks[query] = rank_of(scores, right, len(candidates) - total)
    return ranks


def rank_of(scores: np.ndarray, right: np.ndarray, competitors: int) -> int:
    """Rank (0 is first) of the best matching candidate, from the candidates' scores (k,) and the number of competitors.

    Competitors outside the candidates score lower than all of them. Ties and comparisons with NaN are lost; without a
    matching candidate all competitors come first; if the own score is NaN, the rank is MISSED.
    """
    if not right.any():
        return competitors
    own = scores[right]
    if np.isnan(own).all():
        return MISSED
    others = scores[~right]
    return int(len(others) - np.count_nonzero(others < np.nanmax(own)))


class _Pairs:
    """States of all images and distinct captions of a split, and the match logits of any pairs of them."""

    def __init__(
        self, model: Matcher, dataset: PairDataset, part: SplitFeatures, batch_size: int, device: torch.device
    ) -> None:
        self.model, self.device, self.group = model, device, part.text_group
        first = {int(group): text for group, text in zip(part.text_group, dataset.captions, strict=True)}
        distinct = [first[number] for number in range(len(first))]
        loader = eval_loader(dataset, batch_size)
        batches = progress_bar(loader, len(loader), "image states")
        self.images = _stacked(model.image_states_of(batch["images"].to(device)) for batch in batches)
        starts = range(0, len(distinct), batch_size)
        self.texts = _stacked(self._texts(distinct[start : start + batch_size]) for start in starts)

    def match_image(self, image: int, texts: torch.Tensor) -> torch.Tensor:
        """Logits of an image with texts (k,)."""
        return self._logits(torch.full_like(texts, image), texts)

    def match_text(self, text: int, images: torch.Tensor) -> torch.Tensor:
        """Logits of a text with images (k,)."""
        return self._logits(images, torch.full_like(images, text))

    def _logits(self, images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        image_states = _moved(self.images, self.device, images)
        return self.model.match(image_states, _moved(self.texts, self.device, self.group[texts]))

    def _texts(self, captions: list[str]) -> Any:
        tokens = self.model.ranking_tokens(captions)
        return self.model.text_states_of(tokens.ids.to(self.device), tokens.mask.to(self.device))


def _moved(states: Any, device: torch.device | str, rows: Any = slice(None)) -> Any:
    """Some rows of states, on a device."""
    parts = (states.features, states.states, states.mask)
    return type(states)(*(None if part is None else part[rows].to(device) for part in parts))


def _stacked(batches: Iterator[Any]) -> Any:
    """All batches of states as one on the CPU; shorter texts are padded behind their mask."""
    states = [_moved(batch, "cpu") for batch in batches]
    parts = ([getattr(batch, name) for batch in states] for name in ("features", "states", "mask"))
    return type(states[0])(*(None if part[0] is None else _padded(part) for part in parts))


def _padded(parts: list[torch.Tensor]) -> torch.Tensor:
    """Concatenate tensors (B_i, L_i, …), padded with zeros to the largest L."""
    longest = max(part.shape[1] for part in parts)
    return torch.cat([F.pad(part, (*(0, 0) * (part.ndim - 2), 0, longest - part.shape[1])) for part in parts])
