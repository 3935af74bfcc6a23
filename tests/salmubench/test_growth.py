"""Ten times the rows take about ten times the operations: comparisons and hashes are counted, not seconds."""

from __future__ import annotations

import random
import tracemalloc

import numpy as np
import pytest

from lavis.datasets.annotations import Entry
from lavis.evaluation import inputs
from lavis.salmubench import identity_mrr
from lavis.salmubench.fictitious_values import persona_values
from lavis.salmubench.idzsc import numbered
from lavis.salmubench.splits import derive_splits
from lavis.salmubench.value_auc import fictitious_captions
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
            products.append(self.shape)
            return np.asarray(self) @ np.asarray(other)

    monkeypatch.setattr(identity_mrr, "paired_rows", lambda *given: [part.view(Rows) for part in given[:2]])
    monkeypatch.setattr(identity_mrr, "BLOCK", 4)
    pool = identity_mrr.CaptionPool([str(i) for i in range(10)], [str(i % 3) for i in range(10)])
    ranks = identity_mrr.pool_ranks(rows(8), rows(8, seed=1), list("01234567"), ["0"] * 8, pool, rows(10, seed=2))
    assert len(products) == 2  # blocks
    assert (ranks.apart <= ranks.among).all()


@pytest.mark.parametrize("picked", [None, np.arange(6000) % 50])
def test_products_of_rows_need_no_third_array(picked, monkeypatch):
    monkeypatch.setattr(inputs, "PIECE", 500)
    one, other = rows(6000, 32), rows(6000, 32, seed=1)
    tracemalloc.start()
    found = inputs.row_products(one, other, picked)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < other.nbytes / 3
    assert np.array_equal(found, ((one if picked is None else one[picked]) * other).sum(axis=1))


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
