"""run.select and run.anchor in whole runs: what changes, what stays, and what goes on after an interruption."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import torch

from lavis.common.checkpoint import load_checkpoint
from lavis.common.errors import ConfigError
from lavis.common.registry import registry
from lavis.runners.options import layers
from lavis.settings.config import load_config
from lavis.settings.parts_schema import AnchorConfig, SelectConfig
from lavis.tasks.entry import unlearn as run_unlearn
from tests.processes import run
from tests.runners.weights import Weights, changed, folder_to_go_on_in, weights
from tests.small import write_world
from tests.tiny import CONFIG, draw_tiny, save_untrained

FAST = ("run.evaluate_after=false", "run.init_lr=1e-3", "run.weight_decay=0.1", "run.adam_eps=1e-3")
SALUN, SLUG = ("run.select.rule=salun", "run.select.share=0.25"), ("run.select.rule=slug",)
L2_SP, EWC = ("run.anchor.l2_sp=0.5",), ("run.anchor.ewc=1e3",)
OPTIONS = {"salun": SALUN, "slug": SLUG, "l2_sp": L2_SP, "ewc": EWC}
METHODS = registry.names("trainer")


def distance(one: Weights, two: Weights) -> float:
    return sum(float((one[name].double() - two[name].double()).pow(2).sum()) for name in one) ** 0.5


@pytest.mark.parametrize("method", ["erase", "ft"])
def test_salun_holds_the_rest_bit_by_bit(unlearn, original, heard, method) -> None:
    """Weight decay is on, and would move every matrix. The mask is the checkpoint's."""
    folder = unlearn(method, *FAST, *SALUN)
    found = re.search(r"salun: (\d+) of (\d+) numbers are trained; (\d+) have a gradient on 16 pairs of Df", heard.text)
    end, measured = weights(folder), load_checkpoint(folder / "checkpoint_1.pth")["measured"]
    masks = {name.removeprefix("mask."): mask for name, mask in measured.items()}
    for name, mask in masks.items():
        assert torch.equal(end[name][~mask], original[name][~mask])
        assert not mask.any() or (end[name] != original[name])[mask].float().mean() > 0.5
    assert changed(end, original) <= {name for name, mask in masks.items() if mask.any()}
    assert found and int(found[1]) == sum(int(mask.sum()) for mask in masks.values())
    assert int(found[2]) == sum(mask.numel() for mask in masks.values())
    assert int(found[1]) == pytest.approx(int(found[3]) / 4, abs=1) and int(found[3]) < int(found[2])


@pytest.mark.parametrize("method", ["erase", "ft"])
def test_slug_trains_one_layer(unlearn, original, heard, method) -> None:
    folder = unlearn(method, *FAST, *SLUG)
    found = re.search(r"run.select=slug: of (\d+) layers (\S+) alone is trained; the front, .*: (.*)", heard.text)
    assert found and changed(weights(folder), original) == {found[2]}
    front = re.findall(r"(\S+) \(([\d.e+-]+), ([\d.]+)\)", found[3])
    assert found[2] in [name for name, *_ in front] and int(found[1]) >= len(front)
    gains, costs = ([float(row[column]) for row in front] for column in (1, 2))
    assert gains == sorted(gains, reverse=True) and costs == sorted(costs, reverse=True)


def test_slug_chooses_among_what_run_trainable_names(unlearn, original) -> None:
    found = changed(weights(unlearn("erase", *FAST, *SLUG, "run.trainable=visual.*")), original)
    assert len(found) == 1 and found.pop().startswith("visual.")


def test_embeddings_are_no_layers(unlearn) -> None:
    with pytest.raises(ConfigError, match=r"trains no layer but embeddings, .*; name layers in run.trainable"):
        unlearn("erase", *FAST, *SLUG, "run.trainable=[token_embedding.*,'*positional_embedding']")


def test_layers_by_hand(tiny) -> None:
    """Of one block: the packed projection, the one after it, and two of the MLP; apart from blocks, three."""
    model = registry.get_model_class("clip").from_config(load_config(CONFIG, tiny[0]).model, load_pretrained=False)
    found = set(layers(model))
    blocks = {name for name in found if "resblocks" in name}
    assert found - blocks == {"visual.conv1.weight", "visual.proj", "text_projection"}
    assert {name.split(".", 4)[-1] if name.startswith("visual") else name.split(".", 3)[-1] for name in blocks} == {
        *("attn.in_proj_weight", "attn.out_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
    }


def test_layers_below_the_chosen_one_are_stored(tmp_path_factory, tmp_path) -> None:
    """The weights are those of a run that computes every layer in every step."""
    from lavis.tasks.entry import train
    from tests.conftest import run_unlearning

    deep = write_world(tmp_path_factory.mktemp("deep"), layers=3)
    train(str(deep.config), ["run.max_epoch=1", "run.evaluate_after=false"])
    own = (*FAST, *SLUG, "run.trainable=[visual.transformer.resblocks.2.*,transformer.resblocks.2.*]")
    plain, fast = (
        weights(run_unlearning(deep, tmp_path / kept, "vlul", (*own, f"run.frozen_prefixes={kept}")))
        for kept in ("never", "always")
    )
    assert list(tmp_path.glob("always/features/prefixes/*/states"))
    assert max((plain[name] - fast[name]).abs().max().item() for name in plain) <= 1e-6


@pytest.mark.parametrize("option", [L2_SP, EWC], ids=["l2_sp", "ewc"])
@pytest.mark.parametrize("method", ["erase", "ft"])
def test_an_anchor_holds_the_weights_nearer(unlearn, original, method, option) -> None:
    strong = option[0].replace("0.5", "10").replace("1e3", "1e6")
    ends = [weights(unlearn(method, *FAST, "run.max_epoch=4", *own, name=f"run{len(own)}")) for own in ((), (strong,))]
    free, anchored = (distance(end, original) for end in ends)
    assert 0 < anchored < free


@pytest.mark.parametrize("option", [L2_SP, EWC], ids=["l2_sp", "ewc"])
def test_the_term_is_in_the_log(unlearn, option) -> None:
    name = option[0].split(".")[2].split("=")[0]
    folder = unlearn("neggrad", *FAST, *option)
    first, second = [
        json.loads(line) for line in (folder / "log.txt").read_text().splitlines() if '"train_loss"' in line
    ]
    assert 0 <= first[f"train_{name}"] < second[f"train_{name}"]
    weight = float(option[0].split("=")[1])
    whole = second["train_forget"] + weight * second[f"train_{name}"]
    assert second["train_loss"] == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS)
def test_a_run_goes_on_where_it_stood(unlearn, tmp_path, option) -> None:
    options = (*FAST, *option, "run.max_epoch=3", "run.keep_last=5")
    straight = unlearn("ft", *options, name="straight")
    folder = folder_to_go_on_in(straight, tmp_path)
    shutil.copy(straight / "checkpoint_0.pth", folder)
    assert unlearn("ft", *options, name="again") == folder
    one, two = (load_checkpoint(path / "checkpoint_2.pth") for path in (straight, folder))
    for part in ("model", "measured"):
        assert changed(one[part], two[part]) == set()
    assert bool(one["measured"]) == (option in (SALUN, EWC))


def test_the_checkpoint_says_which_weights_are_held(unlearn, tmp_path, original) -> None:
    """Another machine may round the gradients otherwise; the run goes on with the mask it began with."""
    options = (*FAST, *SALUN, "run.keep_last=5")
    straight = unlearn("erase", *options, name="straight")
    folder = folder_to_go_on_in(straight, tmp_path)
    content = load_checkpoint(straight / "checkpoint_0.pth")
    content["measured"] = {name: torch.zeros_like(mask) for name, mask in content["measured"].items()}
    torch.save(content, folder / "checkpoint_0.pth")
    unlearn("erase", *options, name="again")
    assert changed(weights(folder), original) == set()


def test_another_layer_than_at_the_beginning_is_refused(unlearn, tmp_path) -> None:
    """Its optimiser's state would be of no use."""
    straight = unlearn("erase", *FAST, *SLUG, name="straight")
    folder = folder_to_go_on_in(straight, tmp_path)
    content = load_checkpoint(straight / "checkpoint_1.pth")
    content["origin"]["layer chosen by run.select"] = "another"
    torch.save(content, folder / "checkpoint_1.pth")
    with pytest.raises(ConfigError, match="was written with other layer chosen by run.select"):
        unlearn("erase", *FAST, *SLUG, name="again")


@pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS)
def test_half_precision_measures_the_same(unlearn, original, option) -> None:
    """Gradients are those of single precision; with scaled losses of 16 bits small ones would be lost."""
    half = ("run.amp=true", "run.amp_dtype=bf16")
    one, two = (
        load_checkpoint(unlearn("erase", *FAST, *option, *own, name=f"run{len(own)}") / "checkpoint_1.pth")
        for own in ((), half)
    )
    assert changed(one["measured"], two["measured"]) == set()
    assert changed(one["model"], original) == changed(two["model"], original) != set()


@pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS)
def test_two_processes_equal_one_with_accumulation(trained_world, tmp_path, option) -> None:
    start = trained_world.output / "original" / "clip" / "salmu_retrieval" / "checkpoint_best.pth"
    found = []
    for processes, accumulated in ((1, 2), (2, 1)):
        own = (f"run.resume_ckpt_path={start}", f"run.output_dir={tmp_path / str(processes)}")
        sizes = ("run.batch_size_train=4", f"run.accum_grad_iters={accumulated}")
        done = run(trained_world.unlearn("erase", options=(*FAST, *own, *sizes, *option)), processes)
        assert done.returncode == 0, done.stderr
        found.append(weights(tmp_path / str(processes) / "unlearn-erase" / "clip" / "salmu_retrieval" / "16"))
    one, two = found
    assert changed(one, weights(start.parent))
    assert max((one[name] - two[name]).abs().max().item() for name in one) <= 1e-6


@pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_every_option_or_says_why_not(method, option) -> None:
    """Methods that start from no original, do not train, or replace weights themselves."""
    trainer = registry.get_trainer_class(method)
    cannot = trainer.runner == "once" or method in ("original", "retrain", "redistill")
    cannot |= trainer.rewrites(load_config(CONFIG, [f"run.method={method}"], [method]).run) != ""
    if not cannot:
        taken = load_config(CONFIG, [f"run.method={method}", *option], [method]).run
        assert (taken.select, taken.anchor) != (SelectConfig(), AnchorConfig())
        return
    reason = "starts from no original|is one change of the weights|itself replaces weights of the original"
    with pytest.raises(ConfigError, match=f"run.(select|anchor) is measured at .*'{method}' ({reason}).*; set run"):
        load_config(CONFIG, [f"run.method={method}", *option], [method])


@pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("other", ["run.lora.rank=2", "run.parallel=fsdp"])
def test_what_does_not_go_together_is_refused(option, other) -> None:
    with pytest.raises(ConfigError, match=rf"but {other.rsplit('=')[0].removesuffix('.rank')}.*; set run"):
        load_config(CONFIG, ["run.method=erase", *option, other], ["erase"])


def test_cpd_reset_takes_them_where_it_resets_nothing() -> None:
    keys = ["run.method=cpd_reset", "run.method_args.after=1", *SALUN]
    assert load_config(CONFIG, keys, ["cpd_reset"]).run.select == SelectConfig(rule="salun", share=0.25)


def test_batches_of_one_pair_have_no_gradient(unlearn) -> None:
    with pytest.raises(ConfigError, match="no gradient on Df .* set run.batch_size_train to 4 or more"):
        unlearn("ft", *FAST, *SALUN, "run.batch_size_train=2")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> tuple[list[str], Weights]:
    """SALMU-tiny and untrained weights to start from."""
    root = tmp_path_factory.mktemp("tiny")
    keys, path = draw_tiny(root), root / "start.pth"
    start = save_untrained(keys, path)
    return [*keys, f"run.resume_ckpt_path={path}"], start.checkpoint_state()


@pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("method", ["vlul", "cpd"])
def test_on_salmu_tiny(tiny, tmp_path, method, option) -> None:
    """With text alone in training, too, as cpd has it."""
    keys, before = tiny
    own = ["run.device=cpu", f"run.output_dir={tmp_path}", "run.max_epoch=1", "run.keep_training_state=true"]
    flags = {"method": method, "df_size": None, "alpha": None}
    run_unlearn(CONFIG, [*keys, *own, "run.evaluate_after=false", *option], "clip", "salmu_tiny_retrieval", flags)
    (path,) = tmp_path.glob("unlearn-*/*/*/*/checkpoint_0.pth")
    content = load_checkpoint(path)
    moved = changed(content["model"], before)
    assert moved and (option is not SLUG or len(moved) == 1)
    for name, value in content["measured"].items():
        key = name.split(".", 1)[1]
        assert option is EWC or torch.equal(content["model"][key][~value], before[key][~value])
