"""Ten times the rows take about ten times the operations: comparisons and hashes are counted, not seconds."""

from __future__ import annotations

import random
import tracemalloc

import numpy as np
import pytest
import torch

from lavis.datasets.annotations import Entry
from lavis.evaluation import inputs, zero_shot
from lavis.evaluation.zero_shot import top1
from lavis.salmubench import acs as acs_module
from lavis.salmubench import bootstrap, identity_mrr, retfail
from lavis.salmubench.acs import acs
from lavis.salmubench.bootstrap import clustered_interval
from lavis.salmubench.fictitious_values import persona_values
from lavis.salmubench.idzsc import numbered
from lavis.salmubench.retfail import draw_distractors, retfail_ranks
from lavis.salmubench.splits import derive_splits
from lavis.salmubench.value_auc import fictitious_captions, value_aucs
from tests.salmubench.rows import rows

MOST = 12  # times the operations for ten times the rows


class Counted(str):
    """A string that counts how often any of its kind is compared or hashed."""

    operations = 0

    def __lt__(self, other: str) -> bool:
        Counted.operations += 1
        return str.__lt__(self, other)

    def __eq__(self, other: object) -> bool:
        Counted.operations += 1
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        Counted.operations += 1
        return str.__hash__(self)


def operations(work, n: int) -> int:
    """Of `work`, a function that prepares n rows and returns what to count."""
    counted = work(n)
    Counted.operations = 0
    counted()
    return Counted.operations


def fragile_names(n: int):
    retain = [Entry(f"retain_synth/{i}.jpg", ("c",)) for i in range(n)]
    named = [Counted(f"{i}.jpg") for i in range(n)]
    return lambda: derive_splits([], [], retain, named)


def people(n: int):
    names = [Counted(f"person {i % (n // 2)}") for i in range(n)]
    return lambda: numbered(names)


def captions(n: int, pool: int = 50):
    values = {"city": sorted(Counted(f"town {i}") for i in range(pool))}
    entries = [Entry(f"{i}.jpg", ("c",), extra={"field": "city", "value": f"town {i % 60}"}) for i in range(n)]
    return lambda: [fictitious_captions(e, f"Ann in {e.extra['value']}", values, count=2) for e in entries]


@pytest.mark.parametrize("work", [fragile_names, captions])
def test_operations_grow_with_the_rows(work):
    few = operations(work, 100)
    assert 0 < operations(work, 1000) <= MOST * few


def test_names_are_sorted_once():
    """n log n comparisons: per row, ten times the rows may add log2(10) of them."""
    few, many = (operations(people, n) / n for n in (100, 1000))
    assert 0 < many <= few + 3.4


def test_a_larger_pool_hardly_costs_more_for_each_caption():
    few, many = (operations(lambda n, pool=pool: captions(n, pool), 100) for pool in (100, 1000))
    assert many <= 2 * few


def test_the_values_of_a_field_are_collected_once():
    read = []

    class Persona(dict):
        def __getitem__(self, key):
            read.append(key)
            return dict.__getitem__(self, key)

    values = persona_values({str(i): Persona(city=f"town {i % 3}") for i in range(10)})
    assert values("city", None) == values("city", "de_DE") == ["town 0", "town 1", "town 2"]
    assert len(read) == 10


def test_both_ranks_come_from_one_product(monkeypatch):
    products = []

    class Rows(np.ndarray):
        def __matmul__(self, other):
            products.append((self.shape[0], other.shape[1]))
            return np.asarray(self) @ np.asarray(other)

    class UnitRows(inputs.UnitRows):
        def __getitem__(self, rows):
            return super().__getitem__(rows).view(Rows)

    monkeypatch.setattr(inputs, "UnitRows", UnitRows)
    monkeypatch.setattr(identity_mrr, "BLOCK", 4)
    monkeypatch.setattr(identity_mrr, "TILE", 6)
    pool = identity_mrr.CaptionPool([str(i) for i in range(10)], [str(i % 3) for i in range(10)])
    ranks = identity_mrr.pool_ranks(rows(8), rows(8, seed=1), list("01234567"), ["0"] * 8, pool, rows(10, seed=2))
    assert products == [(4, 6), (4, 4)] * 2
    assert (ranks.apart <= ranks.among).all()


class Sources:
    """float32 rows as tensors, and how many bytes a metric takes beyond them."""

    def __init__(self, n: int = 5000, dim: int = 256) -> None:
        self.image, self.text = (torch.from_numpy(rows(n, dim, seed).astype(np.float32)) for seed in (0, 1))
        self.owners = [str(i % (n // 10)) for i in range(n)]
        self.n, self.bytes = n, 4 * n * dim

    def peak(self, work) -> float:
        """Peak bytes of `work(self)` over those of one of the two arrays."""
        tracemalloc.start()
        work(self)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak / self.bytes


def cosines(part: Sources) -> None:
    inputs.paired_cosines(part.image, part.text, "x")


def shuffled_cosines(part: Sources) -> None:
    acs(part.image, part.text)


def values(part: Sources) -> None:
    owner = np.arange(part.n)
    value_aucs(part.image, part.text, ((part.text[o], o) for o in np.split(owner, part.n // 500)))


def problem(part: Sources) -> None:
    inputs.embedding_problem({str(i): part for i in range(5)})


def classes(part: Sources) -> None:
    top1(part.image, part.text[:50], np.arange(part.n) % 50, "x")


def texts(part: Sources) -> None:
    numbers = np.arange(part.n)
    drawn = draw_distractors(part.text, numbers, numbers, part.text, numbers, count=50)
    retfail_ranks(part.image, part.text, numbers, drawn, leave_out=numbers)


def draws(part: Sources) -> None:
    clustered_interval(np.arange(part.n), part.owners)


@pytest.mark.parametrize("work", [cosines, shuffled_cosines, values, problem, classes, texts, draws])
def test_a_metric_needs_less_memory_than_another_copy_of_the_rows(work, monkeypatch):
    """A copy in double precision would be 2."""
    for module, name in ((inputs, "PIECE"), (acs_module, "PIECE"), (retfail, "BLOCK")):
        monkeypatch.setattr(module, name, 100)
    monkeypatch.setattr(zero_shot, "SCORES", 50 * 100)
    monkeypatch.setattr(bootstrap, "COUNTS", 20_000)
    Sources(600).peak(work)  # the imports of scikit-learn
    assert Sources().peak(work) < 1


def test_a_probe_of_products_trains_on_one_half_of_them(monkeypatch):
    """Products are (2n, D) in double precision, 4 times the float32 rows; those of one half are 2 times."""
    monkeypatch.setattr(inputs, "PIECE", 100)
    monkeypatch.setattr(acs_module, "PIECE", 100)

    def work(part):
        acs(part.image, part.text, features="product")

    Sources(600).peak(work)  # the imports of scikit-learn
    assert Sources().peak(work) < 3


def test_ranks_among_a_pool_need_no_mask_of_it(monkeypatch):
    monkeypatch.setattr(identity_mrr, "BLOCK", 100)
    monkeypatch.setattr(identity_mrr, "TILE", 100)
    part = Sources()
    captions = [str(i) for i in range(part.n)]
    pool = identity_mrr.CaptionPool(captions, part.owners)
    monkeypatch.setattr(inputs, "PIECE", 100)

    def work(part):
        identity_mrr.pool_ranks(
            part.image[:1000], part.text[:1000], captions[:1000], part.owners[:1000], pool, part.text
        )

    assert part.peak(work) < 0.5  # the masks of one block of 1,000 would be 1


@pytest.mark.parametrize("block", [1, 3, 100])
def test_intervals_do_not_depend_on_how_draws_are_cut(block, monkeypatch):
    values, owners = np.arange(20.0), [str(i % 7) for i in range(20)]
    whole = clustered_interval(values, owners)
    monkeypatch.setattr(bootstrap, "COUNTS", 7 * block)
    assert clustered_interval(values, owners) == whole


def test_draws_are_those_of_the_sorted_pool_without_the_value():
    """What the draw was defined as: a permutation of the other values, sorted."""
    source = random.Random(0)
    for number in range(200):
        pool = sorted({f"town {source.randrange(40)}" for _ in range(source.randrange(1, 30))})
        value = source.choice([*pool, "elsewhere"])
        entry = Entry(f"{number}.jpg", ("c",), extra={"field": "city", "value": value})
        found = fictitious_captions(entry, f"Ann in {value}", {"city": pool}, count=100)
        alone = fictitious_captions(
            Entry(f"{number}.jpg", ("c",), extra={"field": "city", "value": "elsewhere"}),
            "Ann in elsewhere",
            {"city": [other for other in pool if other != value]},
            count=100,
        )
        assert found == alone and f"Ann in {value}" not in found
