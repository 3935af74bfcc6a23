"""Layers below the first trained one, computed once: the same weights, no decoding, clear words where it cannot be."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from lavis.common.checkpoint import load_checkpoint
from lavis.common.errors import ConfigError, DataError
from lavis.images.store import ImageStore
from lavis.settings.config import load_config
from lavis.tasks.entry import train, unlearn
from tests.conftest import run_unlearning
from tests.processes import run
from tests.small import SmallWorld, write_world
from tests.tiny import CONFIG, draw_tiny, save_untrained

FAST = ("run.evaluate_after=false", "run.adam_eps=1e-3")  # otherwise Adam makes whole steps of rounding
LAST = "[visual.transformer.resblocks.2.*,visual.proj,transformer.resblocks.2.*,text_projection]"
KEPT = "run.frozen_prefixes="
CROPS = "datasets.salmu.vis_processor.train.name=clip_image_train"
VIEWS = (CROPS, "datasets.salmu.vis_processor.train.min_scale=0.3", "datasets.salmu.vis_processor.train.views=2")
Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def deep(tmp_path_factory) -> SmallWorld:
    """A world whose towers have three blocks, with an original model."""
    world = write_world(tmp_path_factory.mktemp("deep"), layers=3)
    train(str(world.config), ["run.max_epoch=1", "run.evaluate_after=false"])
    return world


def weights(folder: Path) -> Weights:
    return load_checkpoint(folder / "checkpoint_best.pth")["model"]


def distance(one: Weights, two: Weights) -> float:
    assert one.keys() == two.keys()
    return max((one[name] - two[name]).abs().max().item() for name in one)


def stored(output: Path) -> int:
    """How many files of states a run has left: one per set and tower, shared where sets are equal."""
    return len(list(output.glob("features/prefixes/*/states")))


@pytest.mark.parametrize(
    ("method", "options", "files"),
    [
        ("vlul", [f"run.trainable={LAST}"], 4),
        ("erase", ["run.trainable=[visual.transformer.resblocks.1.*]"], 3),  # erase's teacher has the captions of Dr
        ("delete", ["run.trainable=[transformer.*,text_projection]"], 1),
        ("cliperase", ["run.trainable=visual.*"], 1),
        ("vlul", ["run.trainable=[transformer.*,text_projection]"], 0),
        ("vlul", ["run.trainable=[transformer.*,text_projection]", *VIEWS, "run.max_epoch=4"], 0),
        ("vlul", ["run.lora.rank=2", "run.trainable=[visual.*.2.*,transformer.*.2.*]"], 4),
        ("vlul", [f"run.trainable={LAST}", "run.teacher_cache=none", "run.accum_grad_iters=2"], 4),
        ("shuffled", [f"run.trainable={LAST}", "model.fast_towers=false"], 4),
        ("vlul", [f"run.trainable={LAST}", *VIEWS, "run.max_epoch=3"], 4),
    ],
)
def test_the_weights_are_those_of_a_run_that_stores_nothing(deep, tmp_path, method, options, files) -> None:
    """To 1e-6 in single precision. Of towers that are not trained, the teacher's rows are read where it has them."""
    plain = weights(run_unlearning(deep, tmp_path / "plain", method, (*FAST, *options, f"{KEPT}never")))
    fast = weights(run_unlearning(deep, tmp_path / "fast", method, (*FAST, *options, f"{KEPT}always")))
    original = weights(deep.output / "original" / "clip" / "salmu_retrieval")
    assert distance(plain, fast) <= 1e-6 < distance(plain, original)
    assert (stored(tmp_path / "plain"), stored(tmp_path / "fast")) == (0, files)


def test_no_image_is_decoded_once_the_states_are_there(deep, tmp_path, monkeypatch) -> None:
    options = (*FAST, f"run.trainable={LAST}")
    first = weights(run_unlearning(deep, tmp_path, "vlul", options))
    opened = opened_images(monkeypatch)
    again = weights(run_unlearning(deep, tmp_path, "vlul", (*options, "run.resume=false")))
    assert distance(first, again) == 0
    assert len(set(opened)) == 2  # one of each set, which shows the shape of its states


@pytest.mark.parametrize(("method", "files"), [("erase_hold", 2), ("cpd", 0)])
def test_methods_on_the_text_tower_read_stored_images_or_none(tmp_path, monkeypatch, method, files) -> None:
    keys = [*draw_tiny(tmp_path), "run.device=cpu", "run.max_epoch=2", f"run.resume_ckpt_path={tmp_path / 'model.pth'}"]
    keys += [*FAST, "run.max_steps_per_epoch=2", "run.method_args={held: 4, extra: 4}"]
    save_untrained(keys, tmp_path / "model.pth")
    flags = {"method": method, "df_size": load_config(CONFIG, keys).run.df_size, "alpha": 0.5}
    found, opened = [], opened_images(monkeypatch)
    for name, kept in (("plain", "never"), *((name, "always" if files else "auto") for name in ("fast", "again"))):
        opened.clear()
        own = [f"run.output_dir={tmp_path / name}", f"{KEPT}{kept}", f"run.feature_cache={tmp_path / 'cache'}"]
        unlearn(CONFIG, [*keys, *own], "clip", "salmu_tiny_retrieval", flags)
        found += [weights(path.parent) for path in (tmp_path / name).rglob("checkpoint_best.pth")]
    assert max(distance(found[0], one) for one in found[1:]) <= 1e-6
    assert len(list((tmp_path / "cache" / "prefixes").glob("*/states"))) == len(set(opened)) == files


def opened_images(monkeypatch) -> list[str]:
    """The names of images that are decoded from now on."""
    opened: list[str] = []
    whole = ImageStore.open
    monkeypatch.setattr(ImageStore, "open", lambda store, name, *more: opened.append(name) or whole(store, name, *more))
    return opened


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            [CROPS],
            "images are cropped differently in every epoch; set the processor.s views",
        ),
        (["run.feature_cache=null"], "run.feature_cache is null"),
        (["run.feature_cache_gb=1e-6"], r"0\.0 GB would be needed, and run.feature_cache_gb is 1e-06"),
        (["run.trainable=[visual.*,transformer.*,token_embedding.*]"], "nothing lies below the first trained layer"),
    ],
)
def test_what_cannot_be_stored_is_said_and_refused_where_it_must_be(deep, tmp_path, capfd, options, said) -> None:
    options = (*FAST, "run.trainable=[visual.transformer.resblocks.2.*,transformer.*,token_embedding.*]", *options)
    with pytest.raises(ConfigError, match=f"run.frozen_prefixes is always, but .*{said}.*set it to auto"):
        run_unlearning(deep, tmp_path / "always", "vlul", (*options, f"{KEPT}always"))
    capfd.readouterr()
    run_unlearning(deep, tmp_path / "auto", "vlul", (*options, "run.max_epoch=1"))
    assert stored(tmp_path) == 0
    lines = [line for line in capfd.readouterr().err.splitlines() if "Frozen layers: " in line]
    assert bool([line for line in lines if re.search(f"are not stored: {said}", line)]) == ("nothing lies" not in said)


def test_the_log_says_how_much_is_left(deep, tmp_path, capfd) -> None:
    run_unlearning(deep, tmp_path, "vlul", (*FAST, f"run.trainable={LAST}"))
    blocks = "2 of 3 blocks of the image tower and 2 of 3 blocks of the text tower"
    found = re.search(
        rf"Frozen layers: {blocks} computed once and stored; (\d+) % of the arithmetic of a step is left",
        capfd.readouterr().err,
    )
    share = float(found[1]) if found else 0.0
    assert 20 < share < 75  # a third forward and all of the backward pass are left


def test_a_damaged_file_is_an_error_that_says_what_to_do(deep, tmp_path) -> None:
    options = (*FAST, f"run.trainable={LAST}")
    run_unlearning(deep, tmp_path, "vlul", options)
    for path in tmp_path.glob("features/prefixes/*/states"):
        content = bytearray(path.read_bytes())
        content[100] ^= 1
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"row 0 of .*states is damaged; delete that folder and start again"):
        run_unlearning(deep, tmp_path, "vlul", (*options, "run.resume=false"))


def test_two_processes_store_for_each_other(deep, tmp_path) -> None:
    start = f"run.resume_ckpt_path={deep.output / 'original/clip/salmu_retrieval/checkpoint_best.pth'}"
    found = []
    for name, kept in (("plain", "never"), ("fast", "always")):
        options = (*FAST, start, f"run.trainable={LAST}", f"run.output_dir={tmp_path / name}", f"{KEPT}{kept}")
        done = run(deep.unlearn("vlul", options=options), 2)
        assert done.returncode == 0, done.stderr
        found.append(weights(tmp_path / name / "unlearn-vlul" / "clip" / "salmu_retrieval" / "16"))
    assert distance(*found) <= 1e-6 and stored(tmp_path / "fast") == 4
