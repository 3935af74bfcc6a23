"""SLUG's choice of a layer, by hand."""

from __future__ import annotations

import pytest
import torch

from lavis.trainers.single_layer import Score, chosen_layer, layer_scores, pareto_front


def row(*values: float) -> torch.Tensor:
    return torch.tensor([values])


def test_scores_by_hand() -> None:
    """‖(3, 4)‖ / ‖(6, 8)‖ = 0.5; |cos((3, 4), (−4, −3))| = 24/25."""
    found = layer_scores({"a": row(6.0, 8.0)}, {"a": row(3.0, 4.0)}, {"a": row(-4.0, -3.0)})
    assert found["a"] == pytest.approx((0.5, 0.96))


def test_what_cannot_be_scored_is_left_out() -> None:
    """Vectors, layers of zeros, layers without gradient on Df. Without gradient on Dr nothing is aligned."""
    weights = {"bias": torch.ones(2), "zero": row(0.0), "still": row(1.0), "free": row(2.0)}
    forget = {"bias": torch.ones(2), "zero": row(1.0), "still": row(0.0), "free": row(1.0)}
    retain = {"bias": torch.ones(2), "zero": row(1.0), "still": row(1.0), "free": row(0.0)}
    assert layer_scores(weights, forget, retain) == {"free": Score(0.5, 0.0)}


SCORES = {
    "beaten": Score(1.0, 0.5),  # by "middle" in both
    "strong": Score(4.0, 0.9),
    "middle": Score(2.0, 0.25),
    "apart": Score(0.5, 0.0),
    "tied": Score(0.4, 0.0),  # as little aligned as "apart", and less important
}


def test_the_front_by_hand() -> None:
    assert list(pareto_front(SCORES)) == ["strong", "middle", "apart"]


def test_the_choice_by_hand() -> None:
    """4 · 0.1 = 0.4, 2 · 0.75 = 1.5, 0.5 · 1 = 0.5."""
    assert chosen_layer(pareto_front(SCORES)) == "middle"


def test_equal_layers_are_both_in_the_front_and_the_first_is_chosen() -> None:
    front = pareto_front({"one": Score(1.0, 0.5), "two": Score(1.0, 0.5)})
    assert list(front) == ["one", "two"] and chosen_layer(front) == "one"
