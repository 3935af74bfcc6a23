"""run.compile: the same weights, few lengths of captions, and plain blocks afterwards."""

from __future__ import annotations

import pytest
import torch

from lavis.common.checkpoint import load_checkpoint
from lavis.common.errors import ConfigError
from lavis.common.registry import registry
from lavis.models.base import lengthened
from lavis.runners import compiled
from lavis.runners.fsdp import blocks
from lavis.settings.schema import ModelConfig, RunConfig
from tests.small import SmallWorld

FAST = ("run.evaluate_after=false", "run.adam_eps=1e-3")  # otherwise Adam makes whole steps of rounding


def test_a_compiled_run_ends_with_the_same_weights(unlearn, monkeypatch) -> None:
    """With dynamo's graphs, but without a compiler for C++, which would take a minute."""
    calls = []
    monkeypatch.setattr(compiled, "BACKEND", lambda graph, inputs: calls.append(1) or graph.forward)
    found = [
        load_checkpoint(unlearn("vlul", *FAST, f"run.compile={on}", name=on) / "checkpoint_best.pth")["model"]
        for on in ("false", "true")
    ]
    assert max((found[0][name] - found[1][name]).abs().max().item() for name in found[0]) <= 1e-6
    assert calls


def test_blocks_are_plain_again_afterwards(trained_world: SmallWorld) -> None:
    model = registry.get_model_class("clip").from_config(
        ModelConfig(model_type=str(trained_world.path / "small_clip.json"))
    )
    compiled.compile_blocks(model)
    assert model.text_lengths == (12,)
    assert len(blocks(model)) == 2 and all(block._compiled_call_impl for block in blocks(model))
    compiled.uncompile(model)
    assert not any(block._compiled_call_impl for block in blocks(model)) and model.text_lengths == ()


@pytest.mark.parametrize(("given", "expected"), [(5, 32), (32, 32), (33, 48), (70, 77), (90, 90)])
def test_captions_have_few_lengths(given, expected) -> None:
    found = lengthened(torch.ones(2, given, dtype=torch.int64), (*compiled.LENGTHS, 77))
    assert found.shape == (2, expected) and found.sum() == 2 * given


def test_divided_blocks_are_refused() -> None:
    with pytest.raises(ConfigError, match="run.compile does not go with run.parallel=fsdp"):
        compiled.check_compile(RunConfig(compile=True, parallel="fsdp"))
