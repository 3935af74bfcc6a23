"""Two gloo processes embed the same bits and report the same numbers as one."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from lavis.common import distributed
from lavis.embedding.embed import embed_entries
from lavis.evaluation.ranking import ranks_from_features
from lavis.settings.schema import RunConfig
from tests.evaluation.world import FakeModel, metrics_of, splits


def evaluate(root: Path) -> dict:
    """Features and metrics of the small world, and ranks in many small blocks."""
    data = splits(root)
    features = {name: embed_entries(FakeModel(), dataset, 4, "cpu") for name, dataset in data.items()}
    dr = features["dr"]
    shard = (distributed.rank(), distributed.world_size())
    blocks = {
        block: ranks_from_features(
            dr.image, dr.text, dr.txt2img, block=block, shard=shard, reduce=distributed.sum_counts
        )
        for block in (1, 7, 100)
    }
    return {
        "features": {name: (part.image, part.text) for name, part in features.items()},
        "metrics": metrics_of(features, RunConfig()),
        "ranks": {block: [r.tolist() for r in ranks] for block, ranks in blocks.items()},
    }


def work(rank: int, world: int, root: str) -> None:
    torch.set_num_threads(1)
    store = f"file://{root}/rendezvous-{world}"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=world)
    folder = Path(root) / f"images-{world}-{rank}"
    folder.mkdir()
    torch.save(evaluate(folder), Path(root) / f"found-{world}-{rank}.pt")
    distributed.shutdown()


def test_two_processes_equal_one(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    alone = evaluate(folder)
    mp.spawn(work, (2, str(tmp_path)), nprocs=2)
    for rank in range(2):
        found = torch.load(tmp_path / f"found-2-{rank}.pt", weights_only=True)
        assert found["metrics"] == alone["metrics"]
        assert found["ranks"] == alone["ranks"]
        for name, pair in alone["features"].items():
            assert all(torch.equal(a, b) for a, b in zip(pair, found["features"][name], strict=True)), name
