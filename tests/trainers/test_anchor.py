"""The terms of run.anchor and the Fisher information, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lavis.common.errors import TrainingError
from lavis.settings.parts_schema import AnchorConfig
from lavis.trainers.anchor import Anchor, ewc, fisher_information, l2_sp
from tests.trainers.toy import batch, trainer

AT = [torch.tensor([1.0, 2.0]), torch.tensor([[3.0]])]
FROM = [torch.tensor([0.0, 2.0]), torch.tensor([[1.0]])]


def test_l2_sp_by_hand() -> None:
    """½ (1² + 0² + 2²) = 2.5."""
    assert l2_sp(AT, FROM).item() == 2.5


def test_ewc_by_hand() -> None:
    """½ (4 · 1² + 9 · 0² + 0.5 · 2²) = 3."""
    assert ewc(AT, FROM, [torch.tensor([4.0, 9.0]), torch.tensor([[0.5]])]).item() == 3.0


def test_fisher_by_hand() -> None:
    """Three rows with gradient (1, −2), one with (3, 0): (3·1 + 9, 3·4 + 0) / 4 = (3, 3)."""
    found = fisher_information([(3, {"w": torch.tensor([1.0, -2.0])}), (1, {"w": torch.tensor([3.0, 0.0])})])
    assert found["w"].tolist() == [3.0, 3.0]


def test_the_gradient_leads_back() -> None:
    """d/dθ of w_1·l2_sp + w_2·ewc = (w_1 + w_2 F)(θ − θ⁰) = (2 + 10 · 3) · 0.5 = 16."""
    weight = nn.Parameter(torch.tensor([1.0]))
    anchor = Anchor({"l2_sp": 2.0, "ewc": 10.0}, {"w": weight}, {"w": torch.tensor([3.0])})
    with torch.no_grad():
        weight.add_(0.5)
    total, terms = anchor.added(torch.tensor(7.0), {"forget": torch.tensor(1.0)})
    total.backward()
    assert {name: term.item() for name, term in terms.items()} == {"forget": 1.0, "l2_sp": 0.125, "ewc": 0.375}
    assert total.item() == 7.0 + 2 * 0.125 + 10 * 0.375
    assert weight.grad is not None and weight.grad.item() == 16.0


@pytest.mark.parametrize(
    ("settings", "on"),
    [
        (AnchorConfig(), {}),
        (AnchorConfig(l2_sp=0.5), {"l2_sp": 0.5}),
        (AnchorConfig(l2_sp=0.5, ewc=2.0), {"l2_sp": 0.5, "ewc": 2.0}),
    ],
)
def test_terms_of_weight_0_are_off(settings, on) -> None:
    assert settings.weights == on


def test_a_loss_without_the_terms_that_were_asked_for_is_impossible() -> None:
    with pytest.raises(AssertionError, match="the runner attaches the terms of run.anchor"):
        trainer("ft", anchor=AnchorConfig(l2_sp=1.0)).loss(batch())


def test_a_term_that_is_not_finite_is_named() -> None:
    subject = trainer("ft", anchor=AnchorConfig(l2_sp=1.0))
    subject.anchor = Anchor({"l2_sp": 1.0}, dict(subject.model.named_parameters()), {})
    subject.anchor.originals[0].fill_(torch.inf)
    with pytest.raises(TrainingError, match=r"not finite \(l2_sp = inf\)"):
        subject.loss(batch())
