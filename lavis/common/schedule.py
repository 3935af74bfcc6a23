"""Learning-rate schedules: pure functions of (epoch, step)."""

from __future__ import annotations

import math

from lavis.common.registry import registry

SAME = -1.0  # in LAVIS's files, a `warmup_lr` equal to `init_lr`


@registry.register_lr_scheduler("linear_warmup_cosine_lr")
def linear_warmup_cosine_lr(
    epoch: int,
    step: int,
    *,
    init_lr: float,
    min_lr: float,
    max_epoch: int,
    warmup_steps: int = 0,
    warmup_lr: float | None = None,
) -> float:
    """LAVIS's schedule: a linear warm-up in epoch 0, then one cosine value per epoch.

    From epoch 1 on the rate of the whole epoch is (init_lr − min_lr)·½(1 + cos(π·epoch/max_epoch)) + min_lr.
    """
    if epoch == 0:
        return _warmed_up(step, init_lr, warmup_steps, warmup_lr)
    return (init_lr - min_lr) * 0.5 * (1.0 + math.cos(math.pi * epoch / max_epoch)) + min_lr


@registry.register_lr_scheduler("linear_warmup_step_cosine_lr")
def linear_warmup_step_cosine_lr(
    epoch: int,
    step: int,
    *,
    init_lr: float,
    min_lr: float,
    max_epoch: int,
    steps_per_epoch: int,
    warmup_steps: int = 0,
    warmup_lr: float | None = None,
) -> float:
    """The usual schedule of CLIP training: a linear warm-up from `warmup_lr`, then a cosine that falls at each step.

    The warm-up starts at 0 for None, and at `init_lr` for −1.
    """
    done, total = epoch * steps_per_epoch + step, max_epoch * steps_per_epoch
    if done < warmup_steps:
        start = 0.0 if warmup_lr is None else _start(init_lr, warmup_lr)
        return start + (init_lr - start) * (done + 1) / warmup_steps
    progress = (done - warmup_steps) / max(total - warmup_steps, 1)
    return (init_lr - min_lr) * 0.5 * (1.0 + math.cos(math.pi * progress)) + min_lr


@registry.register_lr_scheduler("constant_lr")
def constant_lr(
    epoch: int, step: int, *, init_lr: float, warmup_steps: int = 0, warmup_lr: float | None = None
) -> float:
    """LAVIS's schedule: `init_lr`, after a linear warm-up in epoch 0."""
    return _warmed_up(step, init_lr, warmup_steps, warmup_lr) if epoch == 0 else init_lr


def _warmed_up(step: int, init_lr: float, warmup_steps: int, warmup_lr: float | None) -> float:
    """LAVIS's warm-up: linear from `warmup_lr` to `init_lr` over `warmup_steps`, or less if epoch 0 is shorter."""
    start = _start(init_lr, warmup_lr)
    return min(init_lr, start + (init_lr - start) * step / max(warmup_steps, 1))


def _start(init_lr: float, warmup_lr: float | None) -> float:
    """The rate at which a warm-up starts: `init_lr` for None and for −1."""
    return init_lr if warmup_lr is None or warmup_lr == SAME else warmup_lr
