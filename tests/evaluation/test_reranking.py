"""Recall after matching, compared with full score matrices, filled with −100 as in the published evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lavis.embedding.embed import split_features
from lavis.evaluation.ranking import MISSED
from lavis.evaluation.reranking import Owners, matched_recall, rank_of
from lavis.evaluation.retrieval import retrieval_metrics
from lavis.settings.schema import RunConfig

CPU = torch.device("cpu")
COUNTS = (2, 1, 3, 2, 1)


@dataclass
class States:
    features: torch.Tensor
    states: torch.Tensor
    mask: torch.Tensor | None = None


class Images:
    """A data set of random images with captions of several lengths; two images share a caption."""

    def __init__(self) -> None:
        draws = torch.Generator().manual_seed(3)
        self.pixels = torch.randint(0, 256, (len(COUNTS), 3, 2, 2), dtype=torch.uint8, generator=draws)
        self.captions = ["a", "bb cc", "dd", "a", "e f g h", "iii", "j", "kk l", "m"]
        self.in_memory = True
        starts = np.cumsum([0, *COUNTS])
        self.caption_ids = lambda i: range(starts[i], starts[i + 1])

    def __len__(self) -> int:
        return len(COUNTS)

    def batch(self, rows, epoch):
        return {"images": self.pixels[torch.as_tensor(rows)]}


class Model:
    """Features and match logits are simple functions of pixels and letters."""

    def __init__(self, width: int = 4) -> None:
        draws = torch.Generator().manual_seed(5)
        self.image, self.text = torch.randn(12, width, generator=draws), torch.randn(128, width, generator=draws)

    def image_states_of(self, images):
        states = images.flatten(1).float() / 255
        return States(F.normalize(states @ self.image, dim=-1), states[:, None])

    def ranking_tokens(self, captions):
        rows = [torch.tensor([ord(letter) for letter in caption]) for caption in captions]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return SimpleNamespace(ids=ids, mask=ids > 0)

    def text_states_of(self, tokens, mask):
        states = self.text[tokens] * mask[..., None]
        return States(F.normalize(states.sum(1), dim=-1), states, mask)

    def match(self, images, texts):
        return torch.einsum("bk,kd,bld->b", images.states[:, 0].sin(), self.image.cos(), texts.states) / 10


@pytest.mark.parametrize("k", [1, 2, 4, 50])
@pytest.mark.parametrize("merge", [True, False])
def test_recall_equals_that_of_whole_matrices(k, merge):
    model, data = Model(), Images()
    images = model.image_states_of(data.pixels)
    texts = model.text_states_of(*vars(model.ranking_tokens(data.captions)).values())
    part = split_features(data, images.features, texts.features)
    run = RunConfig(k_test=k, batch_size_eval=2, merge_equal_captions=merge)
    found = matched_recall(model, data, part, run, CPU)
    scores = [whole(model, images, texts, k, flip) for flip in (False, True)]
    expected = retrieval_metrics(*scores, *maps(data.captions, part.txt2img.tolist(), merge))
    assert found == pytest.approx(expected)


def whole(model, images, texts, k, flip):
    """Cosine + logit for each query's k best, −100 elsewhere, by loops over pairs."""
    cosines = images.features @ texts.features.T
    scores = torch.full_like(cosines, -100)
    for i, j in np.ndindex(*cosines.shape):
        rivals = cosines[:, j] if flip else cosines[i]
        if (rivals > cosines[i, j]).sum() < k:
            pair = [States(s.features[n : n + 1], s.states[n : n + 1]) for s, n in ((images, i), (texts, j))]
            scores[i, j] = cosines[i, j] + model.match(*pair)[0]
    return scores.T if flip else scores


def maps(captions, owner, merge):
    """Images of every text, texts of every image."""
    right = [
        [owner[o] for o, other in enumerate(captions) if (other == caption if merge else o == t)]
        for t, caption in enumerate(captions)
    ]
    return right, [[t for t, images in enumerate(right) if i in images] for i in range(len(COUNTS))]


def test_ranks_by_hand():
    """Ties and NaN are lost; without a matching candidate all others come first; an own NaN is a miss."""
    scores, nan = np.array([3.0, 2.0, 2.0, 1.0]), float("nan")
    assert rank_of(scores, np.array([False, True, False, False]), 9) == 2
    assert rank_of(scores, np.array([False, False, False, True]), 9) == 3
    assert rank_of(scores, np.array([True, True, False, False]), 9) == 0
    assert rank_of(scores, np.zeros(4, bool), 9) == 9
    assert rank_of(np.array([nan, 1.0]), np.array([False, True]), 9) == 1
    assert rank_of(np.array([1.0, nan]), np.array([False, True]), 9) == MISSED


def test_equal_captions_belong_to_both_images():
    owners = Owners(np.array([0, 1, 1]), np.array([0, 1, 0]), 2)
    right, total = owners.texts(0, np.array([2, 1]))
    assert right.tolist() == [True, False] and total == 2
    right, total = owners.images(0, np.array([0, 1]))
    assert right.tolist() == [True, True] and total == 2
