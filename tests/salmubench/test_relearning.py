"""run.metrics=[..., relearning]: the draw, the curve, X by loops; it is repeatable and leaves the model unchanged."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lavis.common.errors import ConfigError, DataError
from lavis.common.registry import registry
from lavis.common.results import read_results
from lavis.datasets.annotations import Entry
from lavis.evaluation.context import PairContext
from lavis.evaluation.measure import measure as measured
from lavis.hub.preparing import builder_of
from lavis.salmubench.relearning import draw, mean_height
from lavis.settings.config import load_config
from lavis.settings.schema import RelearnConfig
from lavis.settings.validation import build
from lavis.tasks.entry import evaluate
from tests.tiny import CONFIG, draw_tiny, save_untrained

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("relearning")
    keys = [*draw_tiny(root), "run.device=cpu", "run.metrics=[cosine,relearning]", f"run.output_dir={root / 'output'}"]
    keys += ["run.relearn.steps=[0,2,3]", "run.relearn.batch_size=4", "run.relearn.lr=1e-3"]
    model = save_untrained(keys, root / "model.pth").eval()
    return SimpleNamespace(keys=keys, model=model, root=root, metadata=root / "tiny" / "metadata")


def measure(world, folder, model=None, *options):
    config = load_config(CONFIG, [*world.keys, *options])
    builder, _ = builder_of(config)
    context = PairContext(model or world.model, builder, config.run, CPU, {}, folder=folder)
    return measured(context, ["relearning"]), builder


def entries(*counts):
    found = [(who, i) for who, count in enumerate(counts) for i in range(count)]
    return [Entry(f"forget/{who}_{i}.jpg", ("a caption",), extra={"identity_id": str(who)}) for who, i in found]


def test_draw_takes_a_share_of_every_identity():
    taught, tested = draw(entries(20, 10, 4), 0.1, 42)
    assert [sum(e.extra["identity_id"] == who for e in taught) for who in "012"] == [2, 1, 1]
    assert {e.image for e in taught} | {e.image for e in tested} == {e.image for e in entries(20, 10, 4)}
    assert len(taught) + len(tested) == 34


def test_draw_depends_on_the_seed_and_not_on_the_order():
    rows = entries(20, 10)
    assert {e.image for e in draw(rows, 0.1, 42)[0]} == {e.image for e in draw(rows[::-1], 0.1, 42)[0]}
    draws = [{e.image for e in draw(rows, 0.1, seed)[0]} for seed in range(5)]
    assert any(one != draws[0] for one in draws)


def test_draw_refuses_what_cannot_be_divided():
    with pytest.raises(DataError, match="too few to teach two and test others"):
        draw(entries(1, 1), 0.1, 42)
    with pytest.raises(DataError, match="identity_id"):
        draw([Entry("forget/0.jpg", ("a caption",))], 0.1, 42)


def test_mean_height_by_hand():
    # (0 + .2)/2 · 20 + (.2 + .4)/2 · 30 + .4 · 50 = 2 + 9 + 20 = 31 over 100 steps
    assert mean_height([0, 20, 50, 100], [0.0, 0.2, 0.4, 0.4]) == pytest.approx(0.31)
    assert mean_height([10, 20], [0.2, 0.4]) == pytest.approx(0.3)
    assert mean_height([5], [0.7]) == 0.7


@pytest.mark.parametrize(
    "change",
    [
        {"steps": []},
        {"steps": [0, 20, 20]},
        {"steps": [-1, 5]},
        {"fraction": 0.0},
        {"fraction": 1.0},
        {"lr": 0.0},
        {"batch_size": 1},
    ],
)
def test_settings_are_checked(change):
    with pytest.raises(ConfigError, match=r"run\.relearn"):
        build(RelearnConfig, change, "run.relearn")


def test_curves_are_repeatable_and_the_model_stays_as_it_was(world, tmp_path):
    before = {name: tensor.clone() for name, tensor in world.model.state_dict().items()}
    frozen = [p.requires_grad for p in world.model.parameters()]
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, _ = measure(world, tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    second, _ = measure(world, tmp_path, None, "run.seed=7", "run.weight_decay=0.5", "run.init_lr=0.1")
    assert first == second
    assert all(torch.equal(tensor, before[name]) for name, tensor in world.model.state_dict().items())
    assert [p.requires_grad for p in world.model.parameters()] == frozen
    assert all(p.grad is None for p in world.model.parameters())
    assert not world.model.training
    assert measure(world, tmp_path, None, "run.relearn.seed=1")[0] != first


def test_file_holds_the_curves(world, tmp_path):
    metrics, builder = measure(world, tmp_path)
    found = json.loads((tmp_path / "relearning.json").read_text())
    df = len(builder.partition().df)
    assert found["steps"] == [0, 2, 3]
    assert found["taught"] + found["asked"] == df
    for group in ("", "_whole"):
        assert found[f"x{group}"] == [metrics[f"relearn_x{group}_{step}"] for step in (0, 2, 3)]
        heights = found[f"x{group}"]
        by_hand = ((heights[0] + heights[1]) / 2 * 2 + (heights[1] + heights[2]) / 2) / 3
        assert metrics[f"relearn_auc{group}"] == pytest.approx(by_hand, abs=2e-6)
    assert set(found) > {"r1", "r1_whole", "x_partial", "r1_partial", "lr", "fraction", "seed", "batch_size"}
    assert len(set(found["x"])) > 1  # the copy was taught


def test_first_point_is_x_of_the_other_pairs(world, tmp_path):
    """X by loops: the rank of the own caption among those of other people, over the pairs outside the draw."""
    metrics, builder = measure(world, tmp_path)
    parts = builder.partition()
    tested = draw(parts.df, 0.1, 42)[1]
    people = [(text, e.extra["identity_id"]) for e in parts.df for text in e.captions]
    for split in ("holdout_identity", "holdout_association"):
        people += [(text, e.extra["identity_id"]) for e in builder.entries(split) for text in e.captions]
    unseen = json.loads((world.metadata / "unseen_personas.json").read_text())["captions"]
    people += [(text, f"unseen {who}") for who, texts in unseen.items() for text in texts]
    partial = {e.extra["identity_id"] for e in builder.entries("holdout_association")}
    scores = _cosines(world.model, builder, tested, [text for text, _ in people])
    found: dict[bool, list[float]] = {True: [], False: []}
    for row, entry in zip(scores, tested, strict=True):
        own = row[[text for text, _ in people].index(entry.captions[0])]
        rivals = {text: s for (text, who), s in zip(people, row, strict=True) if who != entry.extra["identity_id"]}
        rank = 1 + sum(score >= own for score in rivals.values())
        found[entry.extra["identity_id"] in partial].append(1 / rank)
    assert metrics["relearn_x_0"] == pytest.approx(np.mean(found[True] + found[False]), abs=2e-6)
    assert metrics["relearn_x_whole_0"] == pytest.approx(np.mean(found[False]), abs=2e-6)


@torch.no_grad()
def _cosines(model, builder, entries, texts):
    pixels = builder.dataset(entries, "eval").images(range(len(entries)))
    image, text = model.encode_image(pixels), model.encode_text(model.tokenize(texts))
    return (F.normalize(image.double(), dim=-1) @ F.normalize(text.double(), dim=-1).T).numpy()


def test_a_broken_model_has_no_curve(world, tmp_path):
    config = load_config(CONFIG, world.keys)
    broken = registry.get_model_class("clip").from_config(config.model, load_pretrained=False)
    torch.nn.init.constant_(broken.clip.text_projection, math.nan)
    metrics, _ = measure(world, tmp_path, broken)
    assert all(math.isnan(value) for value in metrics.values())
    assert metrics and not (tmp_path / "relearning.json").exists()


def test_evaluate_measures_it_if_listed_and_leaves_no_stale_curve(world):
    options = [*world.keys, f"run.checkpoint={world.root / 'model.pth'}"]
    folder = world.root / "output" / "evaluate" / "clip" / "salmu_tiny_retrieval" / "model"
    evaluate(CONFIG, options)
    metrics = read_results(folder / "results.json")["metrics"]
    assert metrics["relearn_x_0"] == json.loads((folder / "relearning.json").read_text())["x"][0]
    assert metrics["relearn_auc_whole"] > 0
    evaluate(CONFIG, [*options, "run.metrics=[cosine]"])
    assert not (folder / "relearning.json").exists()
    assert "relearn_auc" not in read_results(folder / "results.json")["metrics"]
    with pytest.raises(ConfigError, match=r"run\.relearn\.steps"):
        evaluate(CONFIG, [*options, "run.relearn.steps=[5,1]"])
