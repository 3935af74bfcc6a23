from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavis.evaluation.ranking import MISSED, ranks_from_features
from lavis.evaluation.recall import recall_summary
from lavis.evaluation.retrieval import retrieval_metrics, retrieval_metrics_from_features
from tests.evaluation import naive

GOLDEN = Path(__file__).parents[1] / "golden"
EXPECTED = json.loads((GOLDEN / "recall.json").read_text())["seeds"]


@pytest.mark.parametrize("seed", sorted(EXPECTED))
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_golden_recall_is_exact(seed, kind):
    data = dict(np.load(GOLDEN / f"recall_seed{seed}.npz"))
    txt2img = data["txt2img"]
    img2txt = {i: np.flatnonzero(txt2img == i).tolist() for i in range(len(data["n_captions"]))}
    scores = [data[name] if kind == "numpy" else torch.from_numpy(data[name]) for name in ("scores_i2t", "scores_t2i")]
    metrics = retrieval_metrics(*scores, dict(enumerate(txt2img.tolist())), img2txt)
    assert metrics == {name: EXPECTED[seed][name] for name in metrics}
    assert len(metrics) == 10


@st.composite
def small_worlds(draw):
    """Features of few whole numbers (exact products, many ties), some NaN, some equal rows."""
    n_img, n_txt, dim = draw(st.integers(1, 14)), draw(st.integers(1, 18)), draw(st.integers(1, 3))
    value = st.sampled_from([-1.0, 0.0, 1.0, 2.0, 1.0, 0.0] + ([float("nan")] if draw(st.booleans()) else []))
    rows = st.lists(value, min_size=dim, max_size=dim)
    image = draw(st.lists(rows, min_size=n_img, max_size=n_img))
    text = draw(st.lists(rows, min_size=n_txt, max_size=n_txt))
    txt2img = draw(st.lists(st.integers(0, n_img - 1), min_size=n_txt, max_size=n_txt))
    group = draw(st.none() | st.lists(st.integers(0, 4), min_size=n_txt, max_size=n_txt))
    return (
        torch.tensor(image),
        torch.tensor(text),
        np.array(txt2img),
        None if group is None else np.array(group),
    )


@given(small_worlds(), st.integers(1, 20), st.sampled_from([torch.float32, torch.float64]))
@settings(deadline=None, max_examples=150)
def test_blocked_ranks_equal_the_naive_loop(world, block, dtype):
    image, text, txt2img, group = world
    expected = naive.ranks((image @ text.T).numpy(), txt2img, group)
    found = ranks_from_features(image.to(dtype), text.to(dtype), txt2img, block=block, text_group=group)
    assert [list(r) for r in found] == [list(r) for r in expected]


@given(small_worlds())
@settings(deadline=None, max_examples=50)
def test_score_matrix_and_features_agree(world):
    image, text, txt2img, _ = world
    scores = image @ text.T
    img2txt = [np.flatnonzero(txt2img == i) for i in range(len(image))]
    from_scores = retrieval_metrics(scores, scores.T, txt2img, img2txt)
    assert from_scores == retrieval_metrics_from_features(image, text, txt2img, block=5)
    assert from_scores == recall_summary(*map(np.array, naive.ranks(scores.numpy(), txt2img, None)))


@given(small_worlds(), st.integers(1, 6), st.integers(2, 5))
@settings(deadline=None, max_examples=50)
def test_counts_of_processes_sum_to_the_whole(world, block, processes):
    image, text, txt2img, group = world
    parts: list[torch.Tensor] = []

    def keep(counts):
        parts.append(counts)
        return counts

    for rank in range(processes):
        ranks_from_features(image, text, txt2img, block=block, text_group=group, shard=(rank, processes), reduce=keep)
    total = sum(parts)
    assert total.dtype == torch.int64
    for rank in range(processes):
        found = retrieval_metrics_from_features(
            image, text, txt2img, block=block, text_group=group, shard=(rank, processes), reduce=lambda _: total
        )
        assert found == retrieval_metrics_from_features(image, text, txt2img, block=block, text_group=group)


@pytest.mark.parametrize("dim", [1, 3, 7, 33, 64, 100, 511, 512])
@pytest.mark.parametrize(("n_img", "captions"), [(11, 1), (67, 1), (40, 3), (130, 1)])
def test_a_collapsed_model_finds_nothing(n_img, captions, dim):
    """All embeddings are equal: each query ties with all its competitors, wherever it is in its tile."""
    one = torch.randn(1, dim, generator=torch.Generator().manual_seed(dim))
    image, text = one.repeat(n_img, 1), one.repeat(n_img * captions, 1)
    txt2img = np.arange(n_img).repeat(captions)
    text_ranks, image_ranks = ranks_from_features(image, text, txt2img, block=48)
    assert set(text_ranks) == {(n_img - 1) * captions} and set(image_ranks) == {n_img - 1}
    assert set(retrieval_metrics_from_features(image, text, txt2img, block=64).values()) == {0.0}


@pytest.mark.parametrize("n", [3, 30])
def test_a_model_of_nan_finds_nothing_even_among_few(n):
    broken = torch.full((n, 4), float("nan"))
    assert set(retrieval_metrics_from_features(broken, broken, torch.arange(n)).values()) == {0.0}


def test_one_nan_embedding_is_a_miss_and_a_lost_comparison():
    """Image 2 is NaN: it finds nothing, and every text loses its comparison with it, so none is first."""
    image = torch.eye(4)
    image[2] = float("nan")
    text_ranks, image_ranks = ranks_from_features(image, torch.eye(4), torch.arange(4))
    assert list(text_ranks) == [0, 0, MISSED, 0]
    assert list(image_ranks) == [1, 1, MISSED, 1]


def test_equal_captions_do_not_compete():
    """Images 0 and 1 have equal captions and embeddings: with merged captions the tie is not lost."""
    image = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    text, txt2img = image.clone(), torch.arange(3)
    assert retrieval_metrics_from_features(image, text, txt2img)["txt_r1"] == pytest.approx(100 / 3)
    merged = retrieval_metrics_from_features(image, text, txt2img, text_group=torch.tensor([5, 5, 9]))
    assert merged["txt_r1"] == merged["img_r1"] == 100.0


def test_an_image_with_an_equal_caption_matches():
    """Text 0 scores best with image 1, which has the same caption: a match only if captions are merged."""
    image = torch.tensor([[0.5, 0.0], [1.0, 0.0]])
    text = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert list(ranks_from_features(image, text, [0, 1])[1]) == [1, 0]
    assert list(ranks_from_features(image, text, [0, 1], text_group=[7, 7])[1]) == [0, 0]


def test_real_numbers_with_duplicates_tie_exactly():
    """A third of the embeddings are copies, which must tie to the last bit across tiles."""
    source = torch.Generator().manual_seed(3)
    image = torch.randn(150, 33, generator=source)
    text = image + torch.randn(150, 33, generator=source)
    image[100:], text[100:] = image[:50], text[:50]
    text_ranks, image_ranks = ranks_from_features(image, text, np.arange(150), block=64)
    assert (text_ranks[:50] == text_ranks[100:]).all() and (text_ranks[:50] > 0).all()
    assert (image_ranks[:50] == image_ranks[100:]).all() and (image_ranks[:50] > 0).all()


def test_half_precision_and_mappings_are_accepted():
    eye = torch.eye(5, dtype=torch.float16)
    assert retrieval_metrics_from_features(eye, eye, {i: i for i in range(5)})["r_mean"] == 100.0
    scores = torch.eye(5, dtype=torch.bfloat16)
    assert retrieval_metrics(scores, scores, range(5), {i: [i] for i in range(5)})["r_mean"] == 100.0


def test_images_without_captions_and_empty_sets_are_misses():
    found = ranks_from_features(torch.eye(3), torch.eye(3)[:2], [0, 2])
    assert found[0][1] == MISSED
    assert list(ranks_from_features(torch.eye(3), torch.empty(0, 3), [])[0]) == [MISSED] * 3
    assert retrieval_metrics(np.eye(2), np.eye(2), [0, 1], {0: [0]})["txt_r10"] == 50.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block": 0}, "block must be at least 1"),
        ({"shard": (0, 2)}, "needs a reduce function"),
        ({"txt2img": [0, 1, 2]}, "3 entries for 4 texts"),
        ({"text": torch.zeros(4, 3)}, r"got \(4, 2\) and \(4, 3\)"),
        ({"image": torch.zeros(4)}, r"got \(4,\)"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = {"image": torch.zeros(4, 2), "text": torch.zeros(4, 2), "txt2img": [0, 1, 2, 3]} | change
    with pytest.raises(ValueError, match=message):
        retrieval_metrics_from_features(**arguments)


def test_wrong_score_matrices_are_named():
    with pytest.raises(ValueError, match="n_txt, n_img"):
        retrieval_metrics(np.eye(3), np.zeros((2, 3)), range(3), range(3))
    with pytest.raises(ValueError, match="img2txt has 2 entries"):
        retrieval_metrics(np.eye(3), np.eye(3), range(3), range(2))
    with pytest.raises(ValueError, match=r"txt2img\[1\] must lie in 0..2, got \[3\]"):
        retrieval_metrics(np.eye(3), np.eye(3), [0, 3, 1], range(3))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("block", [64, 1000])
def test_gpu_ranks_equal_the_naive_loop(block):
    source = torch.Generator().manual_seed(0)
    image = torch.randint(-3, 4, (300, 16), generator=source).float()
    text = torch.randint(-3, 4, (420, 16), generator=source).float()
    txt2img = torch.randint(0, 300, (420,), generator=source).numpy()
    expected = naive.ranks((image @ text.T).numpy(), txt2img, None)
    found = ranks_from_features(image.cuda(), text.cuda(), txt2img, block=block)
    assert [list(r) for r in found] == [list(r) for r in expected]
