"""What an audit's page and its table for the terminal say first."""

from __future__ import annotations

import math
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from lavis.report.audit_page import as_text, lead, write_page


def attack(share: float, low: float = math.nan, high: float = math.nan) -> dict[str, Any]:
    numbers = {"share": share, "low": low, "high": high, "p": 0.5, "p_holm": 1.0}
    numbers |= dict.fromkeys(("attacked", "floor", "original", "gain"), 0.5)
    facts = {"about": "tried", "reference": "a paper", "needs": ["weights"], "variant": "plain", "problem": ""}
    return {
        **numbers,
        **facts,
        "variants": {"plain": {"share": share, "by_model": {"unlearned": 0.5}}, "other": {"share": 0, "by_model": {}}},
    }


def content(**attacks: dict[str, Any]) -> dict[str, Any]:
    shares = {name: one["share"] for name, one in attacks.items() if not math.isnan(one["share"])}
    facts = {"budget": "quick", "pairs": 420, "people": 21, "models": {"unlearned": "a"}, "notes": [], "tests": {}}
    facts |= {"plain": {"unlearned": 0.5, "original": 0.5}, "floor": "control"}
    return {**facts, "strongest": max(shares, key=lambda name: shares[name], default=""), "attacks": attacks}


@pytest.mark.parametrize(
    ("attacks", "said"),
    [
        (
            {"noise": attack(0.02), "rmia": attack(0.686, 0.431, 0.868), "lora": attack(0.21)},
            "2 of 3 attacks bring back more than 10 %. "
            "The strongest, rmia, gets 69 % of what the original knew (43 % to 87 %).",
        ),
        (
            {"noise": attack(-0.02, -0.1, 0.05), "lost": attack(math.nan)},
            "No attack brings back more than 10 %. "
            "The strongest, noise, gets −2 % of what the original knew (−10 % to 5 %).",
        ),
        (
            {"lost": attack(math.nan)},
            "No attack has a share: the original itself found the forgotten people's captions (X 0.500) hardly better "
            "than those of people whom no model saw (X 0.500), so there was nothing to bring back.",
        ),
    ],
)
def test_the_first_sentence_names_the_strongest_attack(attacks: dict[str, Any], said: str, tmp_path: Path) -> None:
    """On the page and in the terminal alike."""
    assert lead(content(**attacks)) == said
    assert as_text(content(**attacks)).startswith(f"{said}\n")
    write_page(content(**attacks), tmp_path / "audit.html")
    assert f'<p class="lead">{said}</p>' in unescape((tmp_path / "audit.html").read_text("utf-8"))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"plain": {"unlearned": 0.5}}, "no original model"),
        ({"floor": ""}, "neither a model that never saw the data"),
        ({}, "the original itself found"),
        ({"guess": 0.49}, "no better than guessing"),
    ],
)
def test_it_says_why_no_attack_has_a_share(facts: dict[str, Any], said: str, tmp_path: Path) -> None:
    whole = {**content(lost=attack(math.nan)), **facts}
    assert said in lead(whole)
    write_page(whole, tmp_path / "audit.html")


def test_of_few_people_it_says_that_nothing_is_tested() -> None:
    assert lead({**content(noise=attack(0.5)), "people": 2}).endswith(
        "With 2 people that is an observation, not a test."
    )


def test_every_table_of_the_page_scrolls_by_itself(tmp_path: Path) -> None:
    """On a telephone the page must not be wider than the screen."""
    write_page(content(noise=attack(0.5, 0.4, 0.6)), tmp_path / "audit.html")
    page = (tmp_path / "audit.html").read_text("utf-8")
    assert len(re.findall("<table", page)) == len(re.findall(r'<div class="scroll"[^>]*>\s*<table', page)) == 2
