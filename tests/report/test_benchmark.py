"""SALMUBench in the report: cells, distances, verdicts, published numbers, relearning; broken rows among whole ones."""

from __future__ import annotations

import itertools
import json
import math
import random
import re
from pathlib import Path

import numpy as np
import pytest

from lavis.common.errors import ConfigError
from lavis.evaluation.measure import columns_used
from lavis.evaluation.metric import DISTANCE, Column
from lavis.report import published
from lavis.report.cells import best_methods, cell
from lavis.report.columns import benchmark_tables, readable
from lavis.report.labels import boxes_of, overlaps, place_labels, text_width
from lavis.report.page import Report, environment, render
from lavis.report.palette import COLOURS, METHOD_COLOURS
from lavis.report.plots import Axis, relearning_curves, scatter
from lavis.report.rows import broken_row, relearning
from lavis.report.standing import judged, mean_metrics, with_derived
from lavis.report.tables import to_csv, to_markdown
from lavis.sweeps.schema import sweep_from_dict
from tests.report.reader import Reader
from tests.report.rows import METHODS, benchmark_rows, row

MRR = "salmubench_retfail_mrr"
COLUMN = Column(MRR, "RetFail MRR", "", 4)
UNREAD = {"backbone": "clip", "task": "salmu_mini_retrieval", "df_size": 630, "df_seed": 42}


def seeds(*values: float | None, name: str = "vlul", key: str = MRR) -> list[dict]:
    return [row(name, 42 + place, **{key: value}) for place, value in enumerate(values)]


def unread(name: str = "erase", seed: int = 43) -> dict:
    return broken_row(Path("output") / name, name, seed, "results.json is not valid JSON", **UNREAD)


def table(page: str, label: str) -> str:
    return re.findall(rf'aria-label="{label}">(.*?)</table>', page, flags=re.S)[0]


def drawn(plot: str) -> list[str]:
    """The texts of a plot."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", plot)


def test_a_cell_is_mean_spread_and_interval() -> None:
    """Mean of 0.1, 0.2, 0.3 is 0.2, standard deviation 0.1; the interval's ends are means of 0.05 and 0.25, ..."""
    found = seeds(0.1, 0.2, 0.3)
    for one, low in zip(found, (0.05, 0.15, 0.25), strict=True):
        one["metrics"] |= {f"{MRR}_low": low, f"{MRR}_high": low + 0.1}
    assert cell(found, COLUMN).text == "0.2000 ± 0.1000 [0.1500, 0.2500]"
    assert cell(found[:1], COLUMN).text == "0.1000 [0.0500, 0.1500]"


def test_a_cell_says_why_it_has_no_number() -> None:
    assert cell([row("vlul")], COLUMN).text == "not measured"
    assert cell(seeds(None), COLUMN).text == cell(seeds(math.nan), COLUMN).text == "broken"
    assert cell([unread()], COLUMN).text == "broken"
    assert cell([row("retrained")], Column("distance_retrained", "d", "")).text == "–"


def test_a_mean_over_fewer_seeds_says_so() -> None:
    assert cell(seeds(0.1, 0.3, None), COLUMN).text == "0.2000 ± 0.1414 (1 seed broken)"
    assert (
        cell([*seeds(0.1, 0.3), row("vlul", 44), row("vlul", 45)], COLUMN).text == "0.2000 ± 0.1414 (2 seeds missing)"
    )


def test_the_best_is_by_the_arrow_and_a_broken_seed_takes_no_part() -> None:
    found = [*seeds(0.3, name="a"), *seeds(0.1, name="b"), *seeds(0.0, None, name="c"), *seeds(0.2, name="retrained")]
    assert best_methods(found, Column(MRR, "", "", 3, "↓")) == {"b"}
    assert best_methods(found, Column(MRR, "", "", 3, "↑")) == {"a"}
    assert best_methods(found, Column(MRR, "", "", aim=0.29)) == {"a"}
    assert best_methods([*found, *seeds(0.22, name="d")], Column(MRR, "", "")) == {"d"}


def test_references_of_the_own_seed_count() -> None:
    """A model of seed 43 is held against retrained of seed 43: all fifteen names differ by 0.1 there, not by 0.3."""

    def made(name: str, seed: int, level: float, auc: float) -> dict:
        metrics = {column.key: 100 * level if column.percent else level for column in columns_used(DISTANCE)}
        return row(name, seed, mia_auc=auc, **metrics)

    rows = [made("retrained", 42, 0.8, 0.7), made("retrained", 43, 0.6, 0.9), made("vlul", 43, 0.5, 0.6)]
    first, second, method = (one["derived"] for one in with_derived([*rows, made("erase", 44, 0.5, 0.6)])[:3])
    assert method["distance_retrained"] == pytest.approx(0.1)
    assert method["membership_gap"] == pytest.approx(0.3)
    assert first["distance_retrained"] == second["distance_retrained"] == pytest.approx(0.2)
    assert with_derived([*rows, made("erase", 44, 0.5, 0.6)])[3]["derived"]["membership_gap"] == pytest.approx(0.2)


def test_means_over_seeds_are_broken_where_one_is() -> None:
    assert mean_metrics([{"metrics": {"a": 1, "b": None}}, {"metrics": {"a": 2, "b": 3}}]) == {"a": 1.5, "b": None}


def test_verdicts_are_on_the_page_with_their_reasons() -> None:
    rows = benchmark_rows(("vlul", "delete"))
    shown = table(render(Report(rows)), "Verdicts")
    texts = " ".join(Reader(shown).texts)
    assert "ineffective" in texts and "X whole" in texts and "salmubench" not in texts
    assert texts.count("reference") >= 3
    assert "| delete | ineffective |" in to_markdown(with_derived(rows))
    assert "verdict" in to_csv(with_derived(rows)).splitlines()[0]


def said(own: list[dict], group: list[dict]) -> str | None:
    found = judged(own, group)
    return None if found is None else found.name


def test_the_page_counts_the_methods_that_pass() -> None:
    """A method with retrained's own numbers passes; one without results gets no verdict."""
    rows = benchmark_rows(("delete",))
    same = [{**one, "name": "twin", "folder": "twin"} for one in rows if one["name"] == "retrained"]
    page = render(Report([*rows, *same, unread()]))
    assert "Free of all three failure modes: 1 of 3 methods (twin). No verdict on erase." in page
    assert "No method is shown to be free of all three" in render(Report(rows))


def test_a_broken_method_never_gets_a_good_verdict() -> None:
    rows = benchmark_rows(("vlul",))
    assert said([*rows[-3:-1], unread("vlul", 44)], rows) == "broken"
    rows[-1]["metrics"]["salmubench_gen_know"] = None
    assert said(rows[-3:], rows) == "broken"
    assert said(rows[:1], rows) is None
    assert said(rows[-3:], rows[-3:]) == "not measured"


def test_without_the_benchmark_there_is_no_verdict() -> None:
    page = render(Report([row("compromised"), row("vlul"), row("retrained")]))
    assert "Verdicts" not in page and "SALMUBench" not in page


def lines(shown: str) -> dict[str, str]:
    """A table's lines by the model's name."""
    return {re.findall(r"</svg>([^<]*)<small", line)[0]: line for line in re.findall(r"<tr.*?</tr>", shown)[1:]}


def test_half_written_and_empty_rows_leave_the_others_alone() -> None:
    page = render(Report([*benchmark_rows(("vlul", "delete")), unread(), row("simmin") | {"metrics": {}}]))
    body = lines(table(page, "The ten metrics"))
    eleven = len(benchmark_tables(benchmark_rows(("vlul",)))[0].columns)  # RetFail has two
    assert body["erase"].count(">broken<") == eleven and body["simmin"].count(">not measured<") == eleven
    assert "broken" not in body["delete"] and "not measured" not in body["delete"]
    assert "results.json is not valid JSON" in page
    assert Reader(page).open == []


def test_the_ten_metrics_stand_in_the_papers_order_with_arrows_and_ours_apart() -> None:
    page = render(Report(benchmark_rows(("vlul",))))
    heads = re.findall(
        r'scope="col" title="[^"]*">([^<]*)&nbsp;<span class="arrow"[^>]*>(.)<', table(page, "The ten metrics")
    )
    titles = "RetFail R@1,RetFail MRR,AssocStr,ACS,IdZSC,CoreAssoc,GenKnow,InterIdSim,IntraIdSim,VisIdInt,FragSim"
    assert [head for head, _ in heads] == titles.split(",")
    assert "".join(arrow for _, arrow in heads) == "↓↓→→↓→↑→→↑↑"
    assert page.count('class="origin">ours<') == 2 and page.count('class="origin">as published<') == 1


def test_published_numbers_stand_beside_the_real_data_only() -> None:
    rows = benchmark_rows(("vlul",))
    assert published.published(rows) == {} and published.SOURCE not in render(Report(rows))
    real = [{**one, "task": "salmu_retrieval"} for one in rows]
    found = published.published(real)
    assert found["Clean"][MRR] == "0.0008" and found["Compromised"]["salmubench_acs"] == "0.9510"
    assert found["Direct similarity minimisation, 5×"]["salmubench_intra_id_sim"] == "−0.425"
    shown = table(render(Report(real)), "The ten metrics")
    assert shown.count('class="published"') == 9 and published.SOURCE in shown
    assert "not measured" in shown  # our rows have no ImageNet accuracy: other classes do not stand in its column


def test_every_row_can_be_traced() -> None:
    rows = benchmark_rows(("vlul", "delete"))
    page = render(Report(rows))
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    assert len([one for one in ids if re.fullmatch(r"run-[0-9a-f]{8}", one)]) == len(rows)
    shown = table(page, "How each row was made")
    for text in (
        "output/delete/43/results.json",
        "output/delete/checkpoint_best.pth",
        "abc123",
        "--unlearn_method delete",
    ):
        assert text in shown


def test_relearning_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    file = tmp_path / "relearning.json"
    assert relearning(tmp_path, problems := []) == {} and not problems
    for bad in ('{"steps": [0, 20], "x": [0.1', "[]", '{"x": [1]}', '{"steps": 3}'):
        file.write_text(bad)
        assert relearning(tmp_path, problems := []) == {}
        assert "left out" in problems[0] and str(file) in problems[0]
    file.write_text(json.dumps({"steps": [0, 20, 50], "x": [0.1, None, 0.3], "r1": [1, 2], "seed": 42, "lr": 1e-4}))
    assert relearning(tmp_path, []) == {"x": [(0.0, 0.1), (50.0, 0.3)]}


def test_relearning_curves_are_named_and_references_dashed() -> None:
    models = {name: [[(0.0, 0.1), (20.0, 0.2)]] * 2 for name in ("clean", "retrained", "vlul", "<b>")}
    plot = relearning_curves("X", models)
    assert plot is not None
    assert plot.count("stroke-dasharray") == 2  # the means of both references
    assert {"clean", "retrained", "vlul", "&lt;b&gt;", "X"} <= set(drawn(plot))
    assert "At the end: clean 0.2; retrained 0.2" in plot
    assert relearning_curves("X", {"vlul": [[]]}) is None
    page = render(Report([row("vlul")], relearning={"output/vlul/42": {"x": [(0.0, 0.1), (20.0, 0.2)]}}))
    assert "How what was forgotten comes back" in page


def test_a_logarithmic_axis() -> None:
    axis = Axis("m", "m", (), log=True)
    plot = scatter([row("a", m=0.001), row("b", m=0.5)], axis, Axis("df_cosine", "y"))
    assert plot is not None
    shown = [text for text in drawn(plot) if re.fullmatch(r"[\d.]+", text)]
    assert shown[:6] == ["0.001", "0.003", "0.01", "0.03", "0.1", "0.3"]
    assert np.isnan(axis.values([row("a", m=0.0), row("a")])).all() and axis.values([row("a", m=0.01)]) == [0.01]
    assert scatter([row("a", m=-1.0)], axis, Axis("df_cosine", "y")) is None
    assert scatter([row("a", m=0.01)], axis, Axis("df_cosine", "y")) is not None


def test_names_of_eighteen_models_do_not_meet() -> None:
    draw, names = random.Random(3), ("compromised", "clean", "retrained", *METHODS)
    points = np.array([(draw.gauss(150, 45), draw.gauss(110, 25)) for _ in names])
    widths = [text_width(name, 12.0) for name in names]
    spots = place_labels(points, widths, 14.0, (50, 20, 470, 420))
    boxes = np.vstack([boxes_of([spot], *place, 14.0) for spot, *place in zip(spots, points, widths, strict=True)])
    assert np.triu(overlaps(boxes, boxes), 1).max() == 0
    assert boxes[:, 0].min() >= 50 and boxes[:, 2].max() <= 470


def test_reasons_call_metrics_by_their_heads() -> None:
    assert (
        readable("salmubench_x_mrr_whole 0.5, dr_txt_r1 and no_such_key")
        == "X whole 0.5, retain txt R@1 and no_such_key"
    )


def test_negative_numbers_in_reasons_have_a_minus_sign() -> None:
    assert readable("between 0.9 and -0.11, vlul-2") == "between 0.9 and −0.11, vlul-2"


def test_an_axis_shows_its_least_span() -> None:
    assert Axis("m", "m", (), span=0.2).shown([0.97, 0.99]) == pytest.approx((0.79, 0.99))
    assert Axis("m", "m", (), span=0.01).shown([0.97, 0.99]) == (0.97, 0.99)
    assert Axis("m", "m", (0.0, 100.0)).shown([20.0]) == (0.0, 100.0)
    plot = scatter([row("a", m=0.97), row("b", m=0.99)], Axis("m", "m", (), span=0.2), Axis("df_cosine", "y"))
    assert plot is not None and {"0.8", "0.95"} <= set(drawn(plot))


def test_thresholds_of_a_sweep_file_are_checked() -> None:
    sweep = {"cfg_path": "x.yaml", "methods": ["vlul"]}
    assert sweep_from_dict({**sweep, "verdict": {"recall_left": 0.2}}, "s").verdict == {"recall_left": 0.2}
    with pytest.raises(ConfigError, match=r"s: .*recall_lift.*recall_left"):
        sweep_from_dict({**sweep, "verdict": {"recall_lift": 0.2}}, "s")
    with pytest.raises(ConfigError, match="'verdict' is a mapping"):
        sweep_from_dict({**sweep, "verdict": [1]}, "s")


# What red-green blind eyes see, in linear RGB: Machado, Oliveira and Fernandes, 2009, severity 1.
DEUTERANOPIA = ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881))
PROTANOPIA = ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998))
NORMAL = ((1, 0, 0), (0, 1, 0), (0, 0, 1))


def linear(colour: str) -> list[float]:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def lab(rgb: list[float]) -> tuple[float, float, float]:
    red, green, blue = (min(1.0, max(0.0, part)) for part in rgb)
    x, y = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505, 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089
    x, y, z = (part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116 for part in (x, y, z))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("eye", [NORMAL, DEUTERANOPIA, PROTANOPIA], ids=["normal", "deuteranopia", "protanopia"])
def test_colours_differ_for_every_eye(eye: tuple[tuple[float, ...], ...], mode: int) -> None:
    colours = [linear(colour[mode]) for colour in METHOD_COLOURS.values()]
    seen = [lab([sum(a * b for a, b in zip(line, colour, strict=True)) for line in eye]) for colour in colours]
    assert min(math.dist(a, b) for a, b in itertools.combinations(seen, 2)) > 20


def contrast(one: str, other: str) -> float:
    """As the Web Content Accessibility Guidelines define it; text needs 4.5."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_names_in_plots_can_be_read(mode: int) -> None:
    paper = COLOURS["paper"][mode]
    assert {name for name in COLOURS if contrast(COLOURS[name][mode], paper) < 4.5} == {"line", "paper"}


def test_text_can_be_read_in_both_modes() -> None:
    """Every tag's colour on its own soft background, links and muted text on theirs."""
    style = environment().get_template("style.css").render(colours=COLOURS)
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w{6})", part)) for part in style.split("@media screen")[:2])
    assert light.keys() == dark.keys()
    for colours in (light, dark):
        pairs = [(name.removesuffix("-soft"), name) for name in colours if name.endswith("-soft")]
        pairs += [(name, "soft") for name in ("ink", "muted", "link")] + [("link", "paper"), ("note", "amber-soft")]
        assert len(pairs) == 11
        assert {pair for pair in pairs if contrast(colours[pair[0]], colours[pair[1]]) < 4.5} == set()


def luminance(colour: str) -> float:
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear(colour), strict=True))
