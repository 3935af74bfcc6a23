"""Descent-to-Delete: σ by hand; noise of that size is added to every trained weight, once, and depends on run.seed."""

from __future__ import annotations

import math

import pytest
import torch

from lavis.common.checkpoint import load_checkpoint
from lavis.common.errors import ConfigError
from lavis.common.results import read_results
from lavis.trainers.dtd import noise_scale
from tests.trainers.methods import log_records, stepped_trainer

ARGS = ("run.weight_decay=1", "run.method_args.n=4000", "run.evaluate_after=false")


def weights(folder) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / "checkpoint_best.pth")["model"]


def test_sigma_by_hand():
    """wd 1: γ = ½, L = 2; n = 2, ln(1/δ) = 4, ε = 5: 4√2·2·½ / (1·2·½·(3 - 2)) = 4√2."""
    assert noise_scale(1.0, 2, 5.0, math.exp(-4)) == pytest.approx(4 * math.sqrt(2), rel=1e-12)


def test_sigma_with_two_iterations_by_hand():
    """γ² = ¼: 4√2·2·¼ / (1·2·¾·1) = 4√2 / 3."""
    assert noise_scale(1.0, 2, 5.0, math.exp(-4), 2) == pytest.approx(4 * math.sqrt(2) / 3, rel=1e-12)


def test_delta_is_one_over_n_squared():
    assert noise_scale(0.01, 1000, 5.0) == noise_scale(0.01, 1000, 5.0, 1e-6)


@pytest.mark.parametrize(
    "args",
    [(0.0, 10, 5.0), (2.0, 10, 5.0), (0.1, 1, 5.0), (0.1, 10, 0.0), (0.1, 10, 5.0, 2.0), (0.1, 10, 5.0, None, 0)],
)
def test_values_outside_the_formulas_domain_are_refused(args):
    with pytest.raises(ConfigError, match="dtd"):
        noise_scale(*args)


def test_noise_has_the_size_of_sigma_and_spares_the_temperature():
    subject, _ = stepped_trainer("dtd", weight_decay=1.0, method_args={"n": 4000})
    before = {name: tensor.clone() for name, tensor in subject.model.state_dict().items()}
    sigma = subject.once()["sigma"].item()
    noise = {name: tensor - before[name] for name, tensor in subject.model.state_dict().items()}
    assert noise.pop("logit_scale").item() == 0
    assert torch.cat([part.flatten() for part in noise.values()]).std().item() == pytest.approx(sigma, rel=0.15)


def test_a_run_adds_noise_once_and_repeats_by_seed(unlearn, trained_world):
    original = weights(trained_world.output / "original" / "clip" / "salmu_retrieval")
    folder, again = unlearn("dtd", *ARGS, name="a"), unlearn("dtd", *ARGS, name="b")
    other = unlearn("dtd", *ARGS, "run.seed=7", name="c")
    noisy = weights(folder)
    sigma = log_records(folder)[1]["train_sigma"]
    name = "token_embedding.weight"
    assert (noisy[name] - original[name]).std().item() == pytest.approx(sigma, rel=0.01)
    assert torch.equal(noisy[name], weights(again)[name]) and not torch.equal(noisy[name], weights(other)[name])
    assert torch.equal(noisy["logit_scale"], original["logit_scale"])
    assert {p.name for p in folder.glob("checkpoint_*.pth")} == {"checkpoint_0.pth", "checkpoint_best.pth"}
    configured, taken = log_records(folder)[0]["config"], read_results(folder / "results.json")["config"]
    assert (configured["run"]["max_epoch"], taken["run"]["max_epoch"]) == (2, 1)


def test_repeating_the_command_adds_no_more_noise(unlearn):
    first = weights(unlearn("dtd", *ARGS))
    second = weights(unlearn("dtd", *ARGS))
    assert all(torch.equal(first[name], second[name]) for name in first)
