"""The gradient's norm is computed where it is needed, and a gradient that is not finite is always found."""

from __future__ import annotations

import pytest
import torch

from lavis.common.errors import TrainingError
from lavis.runners import fsdp
from lavis.runners.loop import TrainingLoop
from lavis.trainers.base import BaseTrainer
from tests.trainers.toy import batch, trainer


def stepped(steps: int = 1, **keys) -> TrainingLoop:
    loop = TrainingLoop(trainer("erase", **keys), lambda epoch, step: 1e-3)
    for number in range(steps):
        loop.step(iter([batch(number)]), 0, number)
    return loop


@pytest.mark.parametrize(
    ("each", "clip", "norms"), [(True, None, 3), (False, None, 0), (False, 1.0, 3), (True, 1.0, 3)]
)
def test_the_norm_is_computed_to_clip_or_to_check(each, clip, norms, monkeypatch):
    """`each`: as on a CPU, where every gradient is checked before the step."""
    monkeypatch.setattr(BaseTrainer, "reads_each_loss", each)
    calls, real = [], fsdp.total_norm
    monkeypatch.setattr(fsdp, "total_norm", lambda tensors: calls.append(1) or real(tensors))
    loop = stepped(3, max_grad_norm=clip)
    assert len(calls) == norms
    loop.check_finite("the end")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("each", [True, False])
def test_a_bad_gradient_of_a_good_loss_is_found(each, value, monkeypatch):
    monkeypatch.setattr(BaseTrainer, "reads_each_loss", each)
    loop = stepped()
    loop.model.text.weight.register_hook(lambda gradient: torch.full_like(gradient, value))
    with pytest.raises(TrainingError, match="the gradient is not finite" if each else "became not finite by the end"):
        loop.step(iter([batch(1)]), 0, 1)
        loop.check_finite("the end")
