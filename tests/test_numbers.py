"""Numbers in the prose are those of the registry, of the sweep files and of the last measured runs."""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache

import pytest

from lavis.common.registry import registry
from lavis.sweeps.schema import load_sweep
from tests.processes import ROOT
from tests.project import word

RESULTS = "docs/results/salmu_mini"
TIME = re.compile(r"(\d+) min (\d+) s in all")


@cache
def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@cache
def text(name: str) -> str:
    """A page as one line, so that a phrase is found wherever its lines break."""
    return " ".join(page(name).split())


@cache
def rows() -> tuple[dict, ...]:
    return tuple(json.loads(text(f"{RESULTS}.json"))["rows"])


def measured() -> dict[str, set]:
    """The methods, references and seeds of the table of every method."""
    found = [row for row in rows() if row["method"]]
    return {
        "methods": {row["method"] for row in found},
        "references": {row["name"] for row in rows() if not row["method"]},
        "seeds": {row["seed"] for row in found},
    }


def verdicts() -> Counter[str]:
    """How many methods have each verdict; one that differs between seeds counts under each."""
    return Counter(
        verdict for _, verdict in {(row["method"], row["derived"]["verdict"]) for row in rows() if row["method"]}
    )


def expected() -> list[tuple[str, str]]:
    """(page, phrase) of every number that the prose states."""
    demo, run = load_sweep(ROOT / "configs/sweep/salmu_mini.yaml"), json.loads(text("docs/results/demo.json"))
    counts = {name: word(len(values)) for name, values in measured().items()}
    methods, seeds, failed = counts["methods"], counts["seeds"], verdicts()
    attacks = len(registry.names("attack"))
    quick = [name for name in registry.names("attack") if "quick" in registry.get_attack_class(name).budgets]
    of_demo, all_models = word(len(demo.methods)), word(len(demo.methods) + len(demo.references))
    return [
        ("README.md", f"trains {word(len(demo.references))} references"),
        ("README.md", f"unlearns with {of_demo} methods, evaluates all {all_models} models"),
        ("README.md", f"On {word(run['cpus'])} CPU cores this takes about {word(round(run['seconds'] / 60))} minutes"),
        ("README.md", f"attacks the model of `vlul` in {word(len(quick))} ways"),
        ("docs/audit.md", f"| quick | {len(quick)} |"),
        ("README.md", f"compares [{methods} methods over {seeds} seeds]"),
        ("README.md", f"a sentence for each of {methods} methods"),
        ("README.md", f"about {hours()} on two cores"),
        ("docs/start.md", f"with {of_demo} methods"),
        ("bash/demo.sh", f"unlearn with {of_demo} methods"),
        (f"{RESULTS}.md", f"{methods.capitalize()} methods and {counts['references']} references"),
        ("docs/faq.md", f"of {methods} methods on SALMU-mini, {word(failed['over-generalised'])} lose other people's"),
        ("docs/faq.md", f"and {word(failed['ineffective'])} hardly forget"),
        ("docs/audit.md", f"| full | {attacks} |"),
        ("CHANGELOG.md", f"{attacks} attacks"),
        ("docs/comparison.md", f"| {attacks}, with tests"),
        ("docs/comparison.md", f"| {len(own_methods())} and the ablations of MultiDelete"),
    ]


def hours() -> str:
    """How long the sweep of every method took, by its page, in words."""
    found = TIME.search(text(f"{RESULTS}.md"))
    assert found
    count = round((int(found[1]) + int(found[2]) / 60) / 60)
    return "an hour" if count == 1 else f"{word(count)} hours"


def own_methods() -> set[str]:
    """The registered methods, without ablations (vlul-md, …) and the training of originals."""
    return {name for name in registry.names("trainer") if "-" not in name} - {"original"}


@pytest.mark.parametrize(("page", "phrase"), expected())
def test_a_stated_number_is_the_measured_one(page: str, phrase: str) -> None:
    assert phrase in text(page)


def test_the_table_has_the_methods_of_its_sweep() -> None:
    sweep = load_sweep(ROOT / "configs/sweep/salmu_mini_all.yaml")
    assert measured() == {"methods": set(sweep.methods), "references": set(sweep.references), "seeds": set(sweep.seeds)}


def test_readme_lists_every_registered_method() -> None:
    row = next(line for line in page("README.md").splitlines() if "| methods |" in line)
    ablations = {name for name in registry.names("trainer") if "-" in name}
    assert set(re.findall(r"`([\w-]+)`", row)) - ablations == own_methods()


def test_the_comparison_has_the_numbers_of_the_tables() -> None:
    """Each row of its table on SALMU-mini against the means of the committed results."""
    cells = re.findall(r"^\| (\w+) \| [^|]*\| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", page("docs/comparison.md"), re.M)
    assert len(cells) == 9
    for name, *shown in cells:
        assert shown == [cell(name, "RetFail MRR ↓"), cell(name, "InterIdSim →"), cell(name, "distance to retrained")]


def cell(model: str, column: str) -> str:
    """The mean in a table of the results page, without its deviation."""
    table = page(f"{RESULTS}.md").split(f" {column} |")
    position = table[0].rpartition("\n")[2].count("|")
    row = next(line for line in table[1].splitlines() if line.startswith(f"| {model} |"))
    return row.split("|")[position].strip().split(" ")[0]
