"""A forget set of 31 with half a batch of 16: one epoch sees each of its rows once (OWN's table, its own line)."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from lavis.datasets.annotations import Entry
from lavis.datasets.pairs import PairDataset
from lavis.processors.image import ClipImageEval
from lavis.processors.text import ClipCaption
from lavis.runners.feed import Feed
from lavis.settings.schema import RunConfig
from tests.noise import save_image
from tests.trainers.toy import Toy


class Plain(Toy):
    def prepare(self, rows):
        return rows


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    for i in range(80):
        save_image(root / f"{i}.png", i)
    entries = [Entry(f"{i}.png", (f"caption {i}",)) for i in range(80)]
    return {
        name: PairDataset(rows, root, ClipImageEval(6), ClipCaption())
        for name, rows in (("df", entries[:31]), ("dr", entries[31:]))
    }


@pytest.mark.parametrize("names", [("df", "dr"), ("df",)])
@pytest.mark.parametrize("accum", [1, 2])
def test_each_of_31_rows_is_seen_once_in_an_epoch(sets, names, accum):
    size = 32 // accum
    run = RunConfig(batch_size_train=size, accum_grad_iters=accum, num_workers=0)
    feed = Feed({name: sets[name] for name in names}, Plain(), run, torch.device("cpu"))
    batches = list(feed.batches(0, 0))
    seen = Counter(int(row) for batch in batches for row in batch.sets["df"]["index"])
    assert seen == dict.fromkeys(range(31), 1) and len(batches) == feed.steps * accum
    rows = [len(batch.sets["df"]["index"]) for batch in batches]
    assert sum(batch.weight for batch in batches) == pytest.approx(len(batches))
    assert max(rows) - min(rows) <= 1 or accum > 1
