"""A public report: none of its files names a person, a file, a folder or a command."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from lavis.report.page import Report, write_report
from lavis.report.public import public
from tests.report.reader import Reader
from tests.report.rows import benchmark_rows, gallery, row, rows

SETTING = ("clip", "salmu_mini_retrieval", 630)
PRIVATE = "Ana Ruiz"
PLACE = "/srv/people/ana.csv"
CURVE = {"loss": [(0.0, 1.0), (1.0, 0.4)]}


def private_report(real: bool = True) -> Report:
    """A report with a name or a path in everything that can have one."""
    found = rows()
    for place, one in enumerate(found):
        one |= {"folder": f"{PLACE}/{place}", "checkpoint": PLACE, "command": ["python", PRIVATE, PLACE]}
        one |= {"data": {"files": {PLACE: "digest"}}, "later": PRIVATE, "metrics": {**one["metrics"], "said": PRIVATE}}
    found += [{**row("erase", 43), "doubt": PLACE, "folder": PLACE}, {**row("delete", 43), "broken": PLACE}]
    found.append({**row(f"vlul resume_ckpt_path-{PLACE}"), "folder": PLACE})
    shown = dataclasses.replace(gallery(PRIVATE), real=real)
    return Report(
        found,
        galleries={SETTING: shown},
        losses={f"{PLACE}/3": CURVE},
        relearning={f"{PLACE}/3": {"x": [(0.0, 0.1), (1.0, 0.4)]}},
        problems=[f"{PRIVATE}: {PLACE}"],
        made_by=["python", PLACE],
    )


def written(report: Report, folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in write_report(report, folder).parent.iterdir()}


def test_no_file_of_a_public_report_names_a_person_or_a_place(tmp_path: Path) -> None:
    private, shared = written(private_report(), tmp_path / "a"), written(public(private_report()), tmp_path / "b")
    assert set(private) == set(shared)
    for name, text in shared.items():
        assert PRIVATE in private[name] or PLACE in private[name], name
        for secret in ("Ana", "Ruiz", "/srv", "ana.csv", "output/", "unlearn.py", "data:image"):
            assert secret not in text, (name, secret)
    assert Reader(shared["index.html"]).open == []


def test_its_numbers_are_those_of_the_private_report(tmp_path: Path) -> None:
    shared = json.loads(written(public(private_report()), tmp_path)["results.json"])["rows"]
    for own, other in zip(private_report().rows, shared, strict=True):
        assert other["derived"] == own["derived"] or own.get("broken")
        assert {key: other["metrics"][key] for key in row("x")["metrics"]} == {
            key: own["metrics"][key] for key in row("x")["metrics"]
        }
    assert {one["name"] for one in shared} >= {"compromised", "vlul", "vlul …"}


def test_curves_and_drawn_portraits_stay(tmp_path: Path) -> None:
    page = written(public(private_report(real=False)), tmp_path)["index.html"]
    assert "loss and its terms by epoch" in page and "What returns faster" in page
    assert "data:image" in page  # a drawn portrait


def test_problems_are_counted_and_the_next_step_names_no_folder() -> None:
    report = public(Report(benchmark_rows(), problems=["a", "b"]))
    assert report.problems == [
        "2 of its problems are not described here, because they name files; a report without --public does"
    ]
    assert public(Report(rows())).problems == []
