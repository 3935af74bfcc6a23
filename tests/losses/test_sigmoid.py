"""The sigmoid loss by hand, and against open_clip's SigLipLoss in one process and in two."""

from __future__ import annotations

import math
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from open_clip.loss import SigLipLoss

from lavis.common import distributed
from lavis.common.distributed import gather_live
from lavis.common.features import PairFeatures
from lavis.losses.sigmoid import sigmoid_loss

SCALE, BIAS = torch.tensor(10.0, dtype=torch.float64), torch.tensor(-7.0, dtype=torch.float64)


def unit_rows(seed: int, rows: int = 6) -> torch.Tensor:
    drawn = torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(drawn, dim=1)


def test_by_hand() -> None:
    """S = identity, scale ln 3, bias 0: right pairs σ(ln 3) = 3/4, wrong ones σ(0) = 1/2; one of each an image."""
    eye = torch.eye(2, dtype=torch.float64)
    loss = sigmoid_loss(PairFeatures(eye, eye), torch.tensor(math.log(3.0)), torch.tensor(0.0))
    assert loss.item() == pytest.approx(math.log(4 / 3) + math.log(2))


def test_equal_captions_are_right_for_each_other() -> None:
    """All four are right, at logits of -1: -log σ(-1) = log(1 + e), two an image."""
    eye = torch.eye(2, dtype=torch.float64)
    pairs, groups = PairFeatures(eye, eye), torch.tensor([4, 4])
    loss = sigmoid_loss(pairs, torch.tensor(0.0), torch.tensor(-1.0), groups)
    assert loss.item() == pytest.approx(2 * math.log(1 + math.e))


def test_one_process_is_open_clips() -> None:
    image, text = unit_rows(0), unit_rows(1)
    assert sigmoid_loss(PairFeatures(image, text), SCALE, BIAS).item() == pytest.approx(
        SigLipLoss()(image, text, SCALE, BIAS).item(), abs=1e-12
    )


def gradients(loss: torch.Tensor, leaves: list[torch.Tensor], world: int) -> list[torch.Tensor]:
    """Of the mean over processes, as DDP takes it."""
    found = torch.autograd.grad(loss, leaves)
    return [gradient / world for gradient in found]


def work(rank: int, world: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    own = slice(3 * rank, 3 * rank + 3)
    leaves = [unit_rows(seed)[own].requires_grad_() for seed in (0, 1)]
    ours = sigmoid_loss(PairFeatures(*map(gather_live, leaves)), SCALE, BIAS)
    own_pairs = PairFeatures(*leaves)
    theirs = SigLipLoss(rank=rank, world_size=world)(own_pairs.image, own_pairs.text, SCALE, BIAS)
    losses = torch.stack([ours.detach(), theirs.detach()])
    pair = gradients(ours, leaves, world), gradients(theirs, leaves, world)
    torch.save({"losses": losses, "gradients": pair}, f"{folder}/{rank}.pt")
    distributed.shutdown()


def test_two_processes_are_open_clips(tmp_path) -> None:
    """open_clip's processes hold parts of one sum; ours all hold the whole of it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.start_processes(work, (2, port, str(tmp_path)), nprocs=2, start_method="spawn")
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    ours, theirs = torch.stack([one["losses"] for one in found]).T
    torch.testing.assert_close(ours, theirs.mean().expand(2), atol=1e-12, rtol=0)
    for one in found:
        for own, other in zip(*one["gradients"], strict=True):
            torch.testing.assert_close(own, other, atol=1e-12, rtol=0)
