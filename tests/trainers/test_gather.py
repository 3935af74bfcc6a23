"""run.gather_similarity: processes with parts of a batch take the same step as one process with the whole batch."""

from __future__ import annotations

import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from lavis.common import distributed
from lavis.common.errors import ConfigError
from lavis.common.features import PairFeatures
from lavis.common.registry import registry
from lavis.losses.contrastive import contrastive_loss
from lavis.runners.loop import MicroBatchLoss
from lavis.settings.schema import RunConfig
from lavis.trainers.base import Batch
from lavis.trainers.teacher import FrozenModel, Teacher, Towers
from tests.trainers.toy import CPU, Toy

METHODS = ("vlul", "erase", "delete", "ft", "retrain", "neggrad", "cliperase", "shuffled", "generic")
STEPS, ROWS = 3, 8


class Plain(Toy):
    """In double precision and without dropout, so that results agree up to rounding of 1e-16."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(self.image[0])
        self.double()

    def encode_image(self, images):
        return self.image(images.flatten(1).double() / 255)

    def objective(self, inputs, progress):
        return self.pair_objective(self.represent(inputs), inputs.get("caption_groups"))

    def pair_objective(self, pairs, groups):
        return {"contrastive": contrastive_loss(pairs, self.scale, groups)}


def rows(seed: int, start: int, stop: int) -> dict:
    """A part of ROWS rows. Each caption occurs twice, in different halves and quarters of the batch."""
    draws = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (ROWS, 3, 2, 2), dtype=torch.uint8, generator=draws)
    tokens = torch.randint(0, 50, (ROWS, 3), generator=draws)
    numbers = torch.arange(ROWS)
    whole = {"images": images, "tokens": tokens, "index": numbers, "caption_id": numbers}
    captions = [f"caption {n % 4}" for n in range(ROWS)]
    return {**{key: value[start:stop] for key, value in whole.items()}, "captions": captions[start:stop]}


def steps(method: str, gather: bool, rank: int = 0, world: int = 1) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses of a few SGD steps on a fixed series of batches, and the weights after them."""
    torch.manual_seed(0)
    run = RunConfig(gather_similarity=gather)
    subject = registry.get_trainer_class(method)(method, Plain(), run, CPU)
    subject.attach_teacher(Teacher(FrozenModel(subject.model), {"df": Towers(), "dr": Towers()}))
    with torch.no_grad():
        subject.model.text.weight.mul_(1.5).add_(0.1)
    network = MicroBatchLoss(subject)
    if world > 1:
        network = DistributedDataParallel(network, find_unused_parameters=True)
    optimizer = torch.optim.SGD(subject.model.parameters(), lr=0.5)
    each, losses = ROWS // world, []
    for step in range(STEPS):
        part = (rank * each, (rank + 1) * each)
        sets = {"df": rows(2 * step, *part), "dr": rows(2 * step + 1, *part)}
        total, _ = network(Batch(sets, 42, 0, step * world + rank, CPU, gather=gather))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(total.item())
    return losses, {name: value.detach() for name, value in subject.model.state_dict().items()}


def work(rank: int, world: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    try:
        results = {m: {gather: steps(m, gather, rank, world) for gather in (True, False)} for m in METHODS}
        torch.save(results, f"{folder}/{rank}.pt")
    finally:
        distributed.shutdown()


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def spread(request, tmp_path_factory):
    """Every process's results, by rank."""
    folder = tmp_path_factory.mktemp(f"world{request.param}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.start_processes(work, (request.param, port, str(folder)), nprocs=request.param, start_method="spawn")
    return [torch.load(folder / f"{rank}.pt") for rank in range(request.param)]


def largest_gap(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> float:
    return max((one[name] - two[name]).abs().max().item() for name in one)


@pytest.mark.parametrize("method", METHODS)
def test_processes_equal_one_big_batch(spread, method):
    losses, weights = steps(method, gather=False)
    for results in spread:
        assert results[method][True][0] == pytest.approx(losses, abs=1e-12)
        assert largest_gap(results[method][True][1], weights) < 1e-12


@pytest.mark.parametrize("method", ["vlul", "erase", "delete", "ft", "retrain"])
def test_without_it_the_processes_take_another_step(spread, method):
    assert largest_gap(spread[0][method][False][1], steps(method, gather=False)[1]) > 1e-6


def test_one_process_is_not_changed():
    assert steps("vlul", gather=True)[0] == pytest.approx(steps("vlul", gather=False)[0], abs=1e-12)


@pytest.mark.parametrize("method", ["cpd", "erase_hold", "dtd"])
def test_methods_without_batch_similarities_refuse(method):
    with pytest.raises(ConfigError, match=r"run\.gather_similarity"):
        registry.get_trainer_class(method).check(method, RunConfig(gather_similarity=True), Plain)


def test_fused_models_refuse():
    model = registry.get_model_class("albef_retrieval")
    assert model.features is not PairFeatures
    with pytest.raises(ConfigError, match=r"run\.gather_similarity"):
        registry.get_trainer_class("vlul").check("vlul", RunConfig(gather_similarity=True), model)
