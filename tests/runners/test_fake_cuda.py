"""Every method takes two steps on a CUDA device that is not there: nothing mixes devices or makes the host wait."""

from __future__ import annotations

import copy
import functools
from collections.abc import Generator, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks import drawn
from lavis.common.registry import registry
from lavis.common.transfer import to_device
from lavis.datasets.loaders import MicroBatchLoader
from lavis.models.base import BaseModel
from lavis.runners.feed import Feed
from lavis.runners.loop import TrainingLoop
from lavis.runners.options import trained
from lavis.settings.parts_schema import AnchorConfig, SelectConfig
from lavis.settings.schema import ModelConfig, RunConfig
from lavis.trainers.anchor import Anchor
from lavis.trainers.saliency import Held
from tests.fake_cuda import CUDA, Watch, fakes, move, pretend_cuda

pytestmark = fakes
ROWS = 4
METHODS = registry.names("trainer")
TAUGHT = [method for method in METHODS if registry.get_trainer_class(method).needs_teacher]


@pytest.fixture(scope="module")
def small() -> BaseModel:
    """A CLIP of one layer, on the CPU."""
    return registry.get_model_class("clip").from_config(ModelConfig(model_type=drawn.tiny_model().stem))


class Pinned(MicroBatchLoader):
    """A loader of items that are there, which a feed must ask to pin."""

    def __init__(self, there: list[Any], fetch: Any, items: Any, num_workers: int, pin_memory: bool) -> None:
        assert pin_memory
        self.workers, self._there = 0, there

    def __iter__(self) -> Generator[dict[str, Any], None, None]:
        yield from self._there


class Run:
    """A trainer with fake tensors on CUDA, and its feed."""

    def __init__(self, method: str, small: BaseModel, amp: bool = False, live: bool = True, **keys: Any) -> None:
        model = copy.deepcopy(small)
        run = RunConfig(device="cuda", amp=amp, amp_dtype="bf16", batch_size_train=2 * ROWS, **keys)
        self.trainer = registry.get_trainer_class(method)(method, model, run, CUDA)
        self.model, self.batch = model, drawn.batch(model, 2 * ROWS, torch.device("cpu"))
        drawn.complete(self.trainer, self.batch, live)
        self.mode = FakeTensorMode()
        with self.mode:
            self._move()

    def _move(self) -> None:
        teacher = self.trainer.teacher
        copies = [getattr(self.trainer, "frozen", None), teacher and teacher.frozen]
        for model in (self.model, *filter(None, copies)):
            move(model, self.mode)
        for towers in teacher.towers.values() if teacher else ():
            for name in ("images", "texts"):
                rows = getattr(towers, name)
                setattr(towers, name, None if rows is None else self.mode.from_tensor(rows).to(CUDA))

    def items(self, watch: Watch, tokens: bool) -> Iterator[dict[str, Any]]:
        """What a loader yields: images, row numbers and perhaps tokens in pinned memory, captions as strings."""
        rows = ROWS if len(self.trainer.sets) == 2 or self.trainer.sets == ("df",) else 2 * ROWS
        for number in range(2):
            sets = {
                name: {
                    key: watch.pinned(self.mode.from_tensor(value[:rows].clone()))
                    if key != "captions"
                    else value[:rows]
                    for key, value in self.batch.sets[name].items()
                    if tokens or key != "tokens"
                }
                for name in self.trainer.sets
            }
            yield {**sets, "micro": number}

    def steps(self, monkeypatch: pytest.MonkeyPatch, memory: int = 80 * 2**30, tokens: bool = False) -> Watch:
        """Take two steps; returns what was seen."""
        pretend_cuda(monkeypatch, memory)
        watch = Watch()
        loader = functools.partial(Pinned, list(self.items(watch, tokens)))
        monkeypatch.setattr("lavis.runners.stream.MicroBatchLoader", loader)
        datasets = {name: range(4 * ROWS) for name in self.trainer.sets}
        with self.mode:
            loop = TrainingLoop(self.trainer, lambda epoch, step: 1e-3)
            feed = Feed(datasets, self.model, self.trainer.run, CUDA)
            self.trainer.begin()
            with watch:
                batches = feed.batches(0, 0)
                for step in range(2):
                    loop.step(batches, 0, step)
        assert {p.device for p in self.model.parameters()} == {CUDA}
        assert any(p in loop.optimizer.state for p in self.model.parameters())
        return watch


@pytest.mark.parametrize("amp", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("method", METHODS)
def test_two_steps_never_wait_for_the_device(method, amp, small, monkeypatch):
    run = Run(method, small, amp)
    if run.trainer.runner == "once":
        with run.mode:
            assert run.trainer.once()
        return
    watch = run.steps(monkeypatch)
    assert watch.waits == []
    assert watch.uploads >= 6 * len(run.trainer.sets)  # images and row numbers of two batches


@pytest.mark.parametrize("method", TAUGHT)
def test_two_steps_with_a_stored_teacher_never_wait(method, small, monkeypatch):
    assert Run(method, small, live=False).steps(monkeypatch).waits == []


@pytest.mark.parametrize("amp", [False, True], ids=["fp32", "bf16"])
def test_held_weights_do_not_wait(amp, small, monkeypatch):
    run = Run("erase", small, amp, select=SelectConfig(rule="salun"))
    with run.mode:
        own = trained(run.model)
        run.trainer.held = Held(own, {name: torch.ones_like(p, dtype=torch.bool) for name, p in own.items()})
    assert run.steps(monkeypatch).waits == []


@pytest.mark.parametrize("amp", [False, True], ids=["fp32", "bf16"])
def test_an_anchor_does_not_wait(amp, small, monkeypatch):
    run = Run("erase", small, amp, anchor=AnchorConfig(l2_sp=1.0, ewc=1.0))
    with run.mode:
        own = trained(run.model)
        fisher = {name: torch.ones_like(p) for name, p in own.items()}
        run.trainer.anchor = Anchor(run.trainer.run.anchor.weights, own, fisher)
    assert run.steps(monkeypatch).waits == []


def test_tokens_that_workers_made_are_uploaded_as_they_are(small, monkeypatch):
    run = Run("vlul", small)
    monkeypatch.setattr(run.model, "prepare", lambda rows: pytest.fail("the main process has tokenised"))
    watch = run.steps(monkeypatch, tokens=True)
    assert watch.waits == [] and watch.uploads >= 8 * len(run.trainer.sets)


def test_clipping_does_not_wait(small, monkeypatch):
    assert Run("vlul", small, max_grad_norm=1.0).steps(monkeypatch).waits == []


@pytest.mark.parametrize(("memory", "recomputed"), [(80 * 2**30, 0), (2**10, 2 * 2)], ids=["much", "little"])
def test_mlps_are_recomputed_only_where_memory_is_scarce(memory, recomputed, small, monkeypatch):
    calls = []
    monkeypatch.setattr("lavis.towers.recompute.checkpoint", lambda run, *args, **keys: calls.append(1) or run(*args))
    Run("vlul", small).steps(monkeypatch, memory)
    assert len(calls) == recomputed  # two towers of one block, two steps


@pytest.mark.parametrize("tf32", [False, True])
def test_tf32_is_for_training_alone(tf32, small, monkeypatch):
    seen, run = [], Run("vlul", small, tf32=tf32)
    run.model.register_forward_hook(lambda *given: seen.append(torch.get_float32_matmul_precision()))
    run.steps(monkeypatch)
    assert seen == ["high" if tf32 else "highest"] * 2
    assert torch.get_float32_matmul_precision() == "highest"


def test_causal_attention_hands_over_no_mask(small, monkeypatch):
    attention, seen = F.scaled_dot_product_attention, []

    def see(*args, attn_mask=None, is_causal=False):
        seen.append((attn_mask, is_causal))
        return attention(*args, attn_mask=attn_mask, is_causal=is_causal)

    monkeypatch.setattr(F, "scaled_dot_product_attention", see)
    Run("vlul", small, live=False).steps(monkeypatch)
    assert seen == [(None, False), (None, True)] * 2  # images, captions


def test_the_watch_sees_what_it_is_for():
    with FakeTensorMode(), Watch() as watch:
        host = torch.ones(3)
        host.to(CUDA)
        to_device(host, CUDA)
        watch.pinned(host).to(CUDA)
        torch.tensor([1, 2], device=CUDA)
        torch.ones(4, device=CUDA).cpu()
    assert watch.waits == [
        "a tensor (3,) is copied from memory that is not pinned",
        "a tensor (3,) is copied while the host waits",
        "a tensor (2,) is copied from memory that is not pinned",
        "a tensor (4,) is copied to the host",
    ]


def test_numbers_cannot_be_read():
    with FakeTensorMode(), pytest.raises(Exception, match="_local_scalar_dense"):
        torch.ones((), device=CUDA).item()


def test_devices_do_not_mix():
    with FakeTensorMode(), pytest.raises(RuntimeError, match="device"):
        torch.ones(3, device=CUDA) + torch.ones(3)
