"""The report's page: what it shows, and that no text of the data can act in it."""

from __future__ import annotations

import dataclasses
import html
import json
import math
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import UndefinedError

from lavis.report import sections
from lavis.report.page import TEMPLATES, Report, environment, policy_hash, render, write_report
from lavis.report.rows import losses, row_from_folder
from lavis.report.text import clean
from tests.report.reader import Reader
from tests.report.rows import HOSTILE, METHODS, benchmark_rows, gallery, row, rows

SETTING = ("clip", "salmu_mini_retrieval", 630)
ACTIVE = {"iframe", "object", "embed", "form", "base", "audio", "video"}


def hostile_report() -> Report:
    """Every text of rows, gallery, problems and commands is hostile."""
    bad = [*rows("compromised", "retrained"), *(row(text) for text in HOSTILE)]
    for one in bad[2:]:
        one |= {"commit": HOSTILE[0], "checkpoint": HOSTILE[1], "command": list(HOSTILE), "folder": HOSTILE[2]}
    curve = {HOSTILE[0]: [(0.0, 1.0), (1.0, 0.5)], "loss": [(0.0, 1.0), (1.0, 0.4)]}
    galleries: dict[Any, Any] = {SETTING: gallery(*HOSTILE)}
    return Report(bad, galleries=galleries, losses={HOSTILE[2]: curve}, problems=HOSTILE, made_by=HOSTILE)


def test_hostile_texts_are_shown_and_do_nothing() -> None:
    page = render(hostile_report())
    read = Reader(page)
    assert not ACTIVE & set(read.tags)
    assert read.tags.count("script") == 1
    assert not [name for name, _ in read.attributes if name.startswith("on")]
    assert read.open == []
    shown = "".join(read.texts)
    for text in HOSTILE:
        assert clean(text) in shown
    assert "\u202e" not in page and "\x00" not in page
    page.encode("utf-8")


def test_nothing_is_loaded_from_elsewhere() -> None:
    read = Reader(render(hostile_report()))
    for name, value in read.attributes:
        if name in ("src", "href", "srcset", "data", "action", "poster"):
            assert value.startswith(("data:", "#")), (name, value)
    style = "".join(read.texts)
    assert "@import" not in style and "url(" not in style
    policy = dict(read.attributes)["content"] and [v for n, v in read.attributes if n == "content"]
    assert any("default-src 'none'" in value for value in policy)


def test_what_stands_on_the_page() -> None:
    curves = {"output/vlul/42": {"loss": [(0.0, 1.0), (1.0, 0.4)], "md": [(0.0, 0.6), (1.0, 0.2)]}}
    report = Report(
        rows(), galleries={SETTING: gallery("Ann lives in Oslo")}, losses=curves, made_by=["python", "x.py"]
    )
    shown = " ".join(Reader(render(report)).texts)
    for text in ("compromised", "way to target", "Ann lives in Oslo", "says the secret", "1,234 captions", "abc123"):
        assert text in shown
    assert "python unlearn.py --unlearn_method vlul" in shown
    assert "loss and its terms by epoch" in shown
    assert "not complete" not in shown


def test_photographs_of_people_are_announced() -> None:
    drawn = gallery("Ann lives in Oslo")
    photographed = dataclasses.replace(drawn, real=True)
    pages = [render(Report(rows(), galleries={SETTING: shown})) for shown in (drawn, photographed)]
    assert ["were to be forgotten, with their captions" in page for page in pages] == [False, True]


def test_several_settings_and_seeds() -> None:
    other = [{**one, "df_size": 100} for one in rows("compromised", "vlul", seeds=(1, 2))]
    page = render(Report([*rows(seeds=(1, 2, 3)), *other]))
    assert "630 images to forget" in page and "100 images to forget" in page
    assert "±" in page and "seed 3" in page


@pytest.mark.parametrize(
    "names", [(), ("vlul",), ("compromised",), ("clean", "vlul"), ("a name of more than forty characters, no less",)]
)
def test_pages_of_few_rows(names: tuple[str, ...]) -> None:
    page = render(Report(rows(*names) if names else []))
    assert Reader(page).open == []


def test_rows_without_numbers() -> None:
    broken = row("vlul") | {"metrics": {"df_cosine": None, "dr_txt_r1": math.nan, "mia_auc": "x"}, "counts": None}
    for found in ([broken], [*rows("compromised", "retrained"), broken], [broken | {"metrics": {}}]):
        assert Reader(render(Report(found))).open == []


@settings(deadline=None, max_examples=15)
@given(st.lists(st.floats(-1, 1), min_size=6, max_size=6), st.floats(0, 100), st.floats(0, 1e-6))
def test_plots_are_well_formed_for_any_numbers(cosines: list[float], recall: float, tiny: float) -> None:
    found = rows()
    for one, cosine in zip(found, cosines, strict=True):
        one["metrics"] |= {"df_cosine": cosine, "dr_txt_r1": recall, "df_txt_r1": tiny, "test_txt_r1": recall}
    for svg in (*sections.trade_off(found), *sections.similarity(found)):
        ElementTree.fromstring(svg)  # noqa: S314 - written by this test
        assert "nan" not in svg.lower() and "inf" not in svg


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=60))
def test_any_text_survives_escaping(text: str) -> None:
    template = environment().from_string('<p title="{{ text }}">{{ text }}</p>')
    read = Reader(template.render(text=text))
    assert read.tags == ["p"]
    assert "".join(read.texts) == clean(text)
    assert read.attributes == [("title", clean(text))]


def test_a_template_cannot_use_what_is_not_there() -> None:
    with pytest.raises(UndefinedError):
        environment().from_string("{{ nothing }}").render()


def test_templates_write_no_handlers_and_let_nothing_pass_unescaped() -> None:
    for name in environment().list_templates(extensions=["html", "css"]):
        source = environment().loader.get_source(environment(), name)[0]
        assert not re.search(r"\|\s*safe|autoescape|\son\w+=|<script(?!>{{ script }}</script>)", source), name


def test_the_only_script_is_the_one_that_the_policy_names() -> None:
    page = render(hostile_report())
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    assert script == (TEMPLATES / "tables.js").read_text(encoding="utf-8")
    policy = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)[0]
    assert "default-src 'none'" in policy and f"script-src '{policy_hash(script)}'" in policy
    assert not re.search(r"innerHTML|insertAdjacent|eval|fetch|http", script)


def test_files_are_written_whole(tmp_path: Path) -> None:
    page = write_report(Report(rows() + [row("x", df_cosine=math.nan)], problems=["p"]), tmp_path / "report")
    content = json.loads(page.with_name("results.json").read_text())
    assert [one["name"] for one in content["rows"]] == [*(one["name"] for one in rows()), "x"]
    assert content["rows"][-1]["metrics"]["df_cosine"] is None
    assert content["problems"] == ["p"]
    assert sorted(p.name for p in page.parent.iterdir()) == ["index.html", "results.csv", "results.json", "results.md"]


def test_losses_of_a_log_that_was_cut_off(tmp_path: Path) -> None:
    lines = [
        '{"run": {}}',
        '{"epoch": 0, "train_loss": 9, "train_lr": 1}',
        '{"epoch": 0, "train_loss": 2, "train_md": 1}',
    ]
    lines += ['{"epoch": 1, "train_loss": "nan", "train_md": 0.5}', "[]", '{"test_txt_r1": 3}', '{"epoch": 2, "tra']
    (tmp_path / "log.txt").write_text("\n".join(lines))
    assert losses(tmp_path, problems := []) == {"loss": [(0.0, 2.0)], "md": [(0.0, 1.0), (1.0, 0.5)]}
    assert len(problems) == 1 and "left out: 2, the first" in problems[0] and "line 7" in problems[0]
    assert losses(tmp_path / "none", problems := []) == {} and not problems


def test_a_term_that_is_the_loss_is_drawn_once(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text('{"epoch": 0, "train_loss": 2, "train_contrastive": 2, "train_seconds": 5}')
    assert losses(tmp_path, []) == {"loss": [(0.0, 2.0)]}


def test_rows_come_from_run_folders(tmp_path: Path) -> None:
    found = {key: value for key, value in row("vlul").items() if key != "folder"}
    (tmp_path / "results.json").write_text(json.dumps(found | {"schema": 1, "config": {}, "finished": True}))
    assert row_from_folder(tmp_path, "other") == {**row("vlul"), "name": "other", "folder": tmp_path.as_posix()}


def in_chromium(page: Path, width: int = 1280) -> tuple[str, list[str]]:
    """The page's elements after loading, and what the browser's console said."""
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += f" --disable-component-update --disable-sync --enable-logging=stderr --window-size={width},900 --dump-dom"
    command = ["chromium", *flags.split(), f"--user-data-dir={page.parent / 'profile'}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_the_page_in_a_browser(tmp_path: Path) -> None:
    report = hostile_report()
    report.rows += Report(benchmark_rows(METHODS[:3])).rows
    shown, console = in_chromium(write_report(report, tmp_path))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert console == []


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_only_tables_scroll_sideways_on_a_phone(tmp_path: Path) -> None:
    """The page's own script measures, in a copy without the policy that forbids scripts."""
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", render(Report(benchmark_rows())))
    measure = "document.title = document.scrollingElement.scrollWidth <= innerWidth ? 'fits' : 'too wide'"
    page = tmp_path / "page.html"
    page.write_text(text.replace("</body>", f"<script>{measure}</script></body>"), encoding="utf-8")
    assert "<title>fits</title>" in in_chromium(page, width=390)[0]


ACT = """
const table = document.querySelector("#retrieval-0 .metrics"), head = table.tHead.rows[0].cells;
const rows = () => [...table.tBodies[0].rows].filter((row) => !row.hidden);
const names = () => rows().map((row) => row.cells[0].firstChild.nextSibling.data);
const seen = [names()];
for (const place of [1, 1, 0]) { head[place].firstElementChild.click(); seen.push(names()); }
const input = table.parentElement.previousElementSibling.querySelector("input");
input.value = "ERA"; input.dispatchEvent(new Event("input")); seen.push(names());
seen.push(head[0].getAttribute("aria-sort"), input.nextElementSibling.textContent);
document.title = JSON.stringify(seen);
"""


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_tables_sort_and_filter(tmp_path: Path) -> None:
    """A second script, which a copy's policy allows as well, clicks and types."""
    names, cosines = ["vlul", "erase", "delete", "ft", "cpd"], [0.3, -0.2, 0.25, None, 0.1]
    found = [{**row(name), "metrics": {"df_cosine": value}} for name, value in zip(names, cosines, strict=True)]
    text = render(Report(found)).replace("script-src '", f"script-src '{policy_hash(ACT)}' '")
    page = tmp_path / "page.html"
    page.write_text(text.replace("</body>", f"<script>{ACT}</script></body>"), encoding="utf-8")
    shown, console = in_chromium(page)
    seen = json.loads(html.unescape(re.findall("<title>(.*?)</title>", shown)[0]))
    assert console == []
    assert seen[:2] == [names, ["erase", "cpd", "delete", "vlul", "ft"]]
    assert seen[2:4] == [["vlul", "delete", "cpd", "erase", "ft"], sorted(names)]
    assert seen[4:] == [["erase"], "ascending", " 1 of 5 rows"]
