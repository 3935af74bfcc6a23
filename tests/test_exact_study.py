"""The study of exact forgetting: worlds' configurations, timings, the search's score, endpoints, and the page."""

from __future__ import annotations

import concurrent.futures
import copy
import os
import shutil
import statistics
from pathlib import Path

import pytest

from benchmarks import exact_audit, exact_forgetting, exact_fresh, exact_page, exact_times
from benchmarks.exact_audit_page import audit_file
from benchmarks.exact_fresh_page import fresh_file
from benchmarks.exact_page import BEGIN, END, ENDPOINTS, EXCESS, Endpoint, interval, verdict, write_page
from benchmarks.exact_worlds import World, run_timed
from lavis.common.files import read_json, write_json
from lavis.settings.config import load_config
from lavis.synthetic.mini.plan import PROXIES
from tests.project import word

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
METRICS = {
    "salmubench_value_auc_whole": 0.5,
    "salmubench_value_auc_partial": 0.6,
    "salmubench_x_mrr_holdout_identity": 0.9,
    "salmubench_x_mrr_holdout_association": 0.99,
    "dr_txt_r1": 92.0,
}


def model(area: float, distance: float, **facts) -> dict:
    areas = {"x": [area, area, area], "fresh": [0.02, 0.02, 0.02]}
    curves = {"areas": areas, "steps": [0, 20, 50], "curves": {}}
    return {
        "metrics": METRICS,
        "distance": distance,
        "relearning": curves,
        "retained": 0.003,
        "unrelated": 0.02,
        **facts,
    }


@pytest.fixture
def content():
    published = {name: {"metrics": METRICS, "distance": 0.3, "cpu_share": 0.6} for name in exact_page.PUBLISHED}
    models = {
        "compromised": {"metrics": METRICS | {"dr_txt_r1": 93.5}, "distance": 0.16},
        "retrained": model(0.04, 0.0, unrelated=0.01),
        "cpd_images": model(0.05, 0.06, cpu_share=0.45),
        **published,
    }
    tried = {
        "method": "cpd_images",
        "name": "cpd_images",
        "options": ["run.amp=true", "run.weights.level=2"],
        "score": 0.2,
        "cpu_seconds": 80,
    }
    tried |= {
        "relearning": model(0.1, 0.0)["relearning"],
        "values": {"whole": 0.5, "partial": 0.6},
        "others": 0.8,
        "r1": 0.9,
    }
    search = {"world": "shared_names-40", "before": {**tried}, "rows": [tried], "finalists": [tried]}
    world = {"variant": "web", "seed": 101, "retraining_cpu_seconds": 100, "models": models}
    return {"planned": ["web-101", "web-102"], "search": search, "worlds": [world], "where": {"commit": "abc"}}


def test_worlds_come_seed_by_seed(tmp_path):
    names = [world.name for world in exact_forgetting.worlds(tmp_path)]
    assert len(set(names)) == 12 and {name.rpartition("-")[2] for name in names[:4]} == {"101"}
    assert World(tmp_path, *exact_forgetting.DEVELOPMENT).name not in names


@pytest.mark.parametrize("variant", exact_forgetting.VARIANTS)
def test_configurations_of_a_world_compose(variant, tmp_path):
    world = World(tmp_path, variant, 101)
    config = load_config(world.config(), job=["original", "compromised"])
    assert config.run.seed == 101 and config.job_name == world.job
    planted = variant != "plain"
    assert config.run.train_splits == (["train", "proxy"] if planted else ["train"])
    assert load_config(world.config(), job=["cpd"]).run.train_splits == ["train"]
    if planted:
        files = load_config(world.config(proxies=True)).dataset.build_info.annotations
        read = {Path(path).stem for split in files.values() for path in split.storage}
        assert read == {*PROXIES, "retain_synth", "val"}


def test_a_command_runs_once_and_its_time_is_stored(tmp_path):
    marker, seen = tmp_path / "timing.json", tmp_path / "seen"
    words = ["-c", f"open({str(seen)!r}, 'a').write('x'); sum(range(10**6))"]
    first = run_timed(words, marker)
    assert run_timed(words, marker) == first and seen.read_text() == "x"
    assert first["cpu_seconds"] >= 0 and first["command"] == words
    with pytest.raises(SystemExit, match="failed \\(3\\)"):
        run_timed(["-c", "raise SystemExit(3)"], tmp_path / "other.json")
    assert not (tmp_path / "other.json").exists()


def test_commands_side_by_side_have_their_own_times(tmp_path):
    """One counts while the other waits for its file; the second, which ends last, has not spent what the first has."""
    done = tmp_path / "done"
    counts = f"import time\nwhile time.process_time() < 2: pass\nopen({str(done)!r}, 'w')"
    waits = f"import os, time\nwhile not os.path.exists({str(done)!r}): time.sleep(0.05)\ntime.sleep(0.5)"
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        several = [(["-c", waits], tmp_path / "waits.json"), (["-c", counts], tmp_path / "counts.json")]
        waited, counted = pool.map(lambda one: run_timed(*one), several)
    assert counted["cpu_seconds"] >= 2 > waited["cpu_seconds"] and waited["seconds"] >= 0.5


def test_a_model_that_was_trained_again_is_evaluated_again(tmp_path):
    world, folder = World(tmp_path, "plain", 101), tmp_path / "run"
    write_json(world.folder / "evaluated-x.json", {"cpu_seconds": 1.0})
    write_json(folder / "results.json", {"metrics": {}})
    with pytest.raises(ValueError, match="trained again after its evaluation; delete .*evaluated-x.json"):
        exact_forgetting.evaluated(world, "x", folder)


def test_times_that_were_counted_together_are_separated():
    """B ends within A, C within A and B, D begins as B ends: 3 = 3, 7 = 4 + 3, 12 = 5 + 4 + 3, 8 = 3 + 5."""
    timings = [("a", 12.0, 0.0, 6.0), ("b", 7.0, 0.5, 5.0), ("c", 3.0, 1.0, 4.0), ("d", 8.0, 4.95, 9.0)]
    own = exact_times.separated(exact_times.Timing(*one) for one in timings)
    assert own == {"c": 3.0, "b": 4.0, "a": 5.0, "d": 3.0}
    with pytest.raises(ValueError, match=r"a: 12.0 CPU seconds cannot be its own; use --again"):
        exact_times.separated([exact_times.Timing(*timings[0])])


def test_separated_times_go_into_shares(content, tmp_path):
    """Retraining took 100 of 150 counted seconds: one method had ended within it. No other number changes."""
    out, world = tmp_path / "study", World(tmp_path, "web", 101)
    models = content["worlds"][0]["models"]
    names = [f"run-{name}" for name, one in models.items() if "cpu_share" in one]
    counted = {name: (50.0, 120.0 * n, 120.0 * n + 50) for n, name in enumerate(names)}
    counted["retrained"] = (150.0, 0.5, 109.5)
    for name, (spent, began, ended) in counted.items():
        write_json(world.folder / f"{name}.json", {"cpu_seconds": spent, "seconds": ended - began})
        os.utime(world.folder / f"{name}.json", (ended, ended))
    write_json(world.folder / "attacked-x.json", {"relearning": 1})
    exact_forgetting.finish(content, out)
    assert exact_times.main(["--work", str(tmp_path), "--out", str(out), "--separate", "web-101"]) == 0
    found = read_json(out.with_suffix(".json"), "study")["worlds"][0]
    assert found["retraining_cpu_seconds"] == 100 and found["models"]["cpd_images"]["cpu_share"] == 0.5
    assert found["models"]["cpd_images"]["relearning"] == models["cpd_images"]["relearning"]


def test_the_searchs_times_are_measured_again(content, tmp_path, monkeypatch):
    def unlearned(world, name, method, options, steps, proxies=False):
        assert proxies and options == content["search"]["rows"][0]["options"]
        write_json(world.folder / f"run-{name}.json", {"cpu_seconds": 12.5})

    monkeypatch.setattr(exact_times, "unlearned", unlearned)
    monkeypatch.setattr(exact_times, "train_original", lambda *_: None)
    exact_times.of_search(tmp_path, content["search"], 1)
    assert content["search"]["rows"][0]["cpu_seconds"] == content["search"]["finalists"][0]["cpu_seconds"] == 12.5


def test_the_searchs_score_by_hand():
    """An area of .10, (.1 + .2)/2 off chance, .05 of others and nothing of Dr lost: .30."""
    row = {"relearning": {"areas": {"x": [0.08, 0.12], "fresh": [0.02]}}, "values": {"whole": 0.6, "partial": 0.3}}
    row |= {"others": 0.85, "r1": 0.95}
    assert exact_forgetting.shortfall(row, {"others": 0.9, "r1": 0.9}) == pytest.approx(0.3)


def test_the_search_has_three_rounds_and_two_finalists_with_and_without_reset(tmp_path, monkeypatch):
    """Scores by method and round; the first three go on to round 2, the two best methods to round 3."""
    scores = {
        "cpd_reset": (5,),
        "cpd_level": (3, 2, 4),
        "cpd_images": (2, 6, 1),
        "cpd_relearn": (4, 7),
        "cpd_apart": (8,),
    }
    seen = []

    def tried(world, number, method, options, before):
        seen.append((method, number))
        return {"method": method, "options": options, "score": scores.get(method, (9,))[number]}

    monkeypatch.setattr(exact_forgetting, "train_original", lambda *_: None)
    monkeypatch.setattr(exact_forgetting, "attacked", lambda *_, **__: {})
    monkeypatch.setattr(World, "original", lambda *_: tmp_path)
    monkeypatch.setattr(exact_forgetting, "_tried", tried)
    found = exact_forgetting.search(tmp_path)
    assert [one for one in seen if one[1]] == [("cpd_images", 1), ("cpd_level", 1), ("cpd_relearn", 1)] + [
        ("cpd_images", 2), ("cpd_level", 2)
    ]  # fmt: skip
    assert [(row["method"], row["score"]) for row in found["finalists"]] == [
        ("cpd_images", 2), ("cpd_images", 1), ("cpd_level", 2), ("cpd_level", 4)
    ]  # fmt: skip
    resets = ["run.method_args.after=1" not in row["options"] for row in found["finalists"]]
    assert resets == [True, False, True, False]


def test_endpoints_by_hand(content):
    models = content["worlds"][0]["models"]
    found = [endpoint.value(models, "cpd_images") for endpoint in ENDPOINTS]
    expected = [0.2, 1.25, 1.0, 2.0, 0.5, 0.6, -0.015, 1.0, 1.0, 0.45]
    assert found == pytest.approx(expected)
    met = [endpoint.met(value) for endpoint, value in zip(ENDPOINTS, found, strict=True)]
    assert met == [True, True, True, False, True, False, False, True, True, True]
    assert EXCESS.value(models, "cpd_images") == pytest.approx(0.01)


def test_what_is_shown():
    endpoint = Endpoint("share", lambda models, name: 0.0, most=1.5)
    assert interval([1.0] * 6) == (1.0, 1.0)
    assert verdict(endpoint, [1.0, 1.1, 1.2, 1.3, 1.4]) == "shown"
    assert verdict(endpoint, [1.6, 1.7, 1.8, 1.9, 2.0]) == "shown not"
    assert verdict(endpoint, [1.0, 1.2, 1.4, 1.6, 1.8]) == "open"
    assert verdict(endpoint, [1.0] * 4) == "too few"


def test_the_page_says_what_is_in_and_is_written_again_alike(content, tmp_path):
    page = tmp_path / "study.md"
    page.write_text(f"# Mine\n\nbefore\n{BEGIN}old{END}after\n", encoding="utf-8")
    write_page(content, page)
    first, plot = page.read_bytes(), (tmp_path / "study.svg").read_bytes()
    write_page(copy.deepcopy(content), page)
    assert (page.read_bytes(), (tmp_path / "study.svg").read_bytes()) == (first, plot)
    text = first.decode()
    assert text.startswith("# Mine\n\nbefore\n") and text.endswith("after\n") and "old" not in text
    assert "1 of 2 worlds: web-101. Not yet: web-102. Commit abc." in text
    later = {**content["worlds"][0], "seed": 102, "commit": "def"}
    write_page({**content, "worlds": [*content["worlds"], later]}, page)
    assert "Not yet: none. Commits: abc (search, web-101); def (web-102)." in page.read_text("utf-8")
    assert "| relearning area ÷ retrained's | · ≤ 1.5 | 1.250 [1.250, 1.250] | 1 of 1 | too few |" in text
    assert "| endpoint | wanted | cpd_images |" in text
    assert "| distance D15 ÷ best published method's | · ≤ 0.333 | 0.200 too few |" in text
    assert "| most met in one world | 10 | 7 (web-101) |" in text


def test_the_pages_costs_are_the_counted_ones():
    text = " ".join((RESULTS / "exact_forgetting.md").read_text("utf-8").split())
    counted = read_json(RESULTS / "exact_forgetting_cost.json", "costs")["methods"]
    shares = {name: f"{100 * one['share']:.0f} %" for name, one in counted.items()}
    assert all(f"{name} {shares[name]}" in text for name in exact_forgetting.SPACES)
    assert f"vlul, erase and delete {shares['vlul']}" in text
    real = read_json(RESULTS / "exact_forgetting_cost.json", "costs")["real"]["methods"]
    assert {"cpd_level", "cpd_images", "vlul"} <= set(real)
    assert all(f"{name} {100 * one['share']:.4f} %" in text for name, one in real.items())


def test_the_committed_page_is_the_one_of_the_committed_numbers(tmp_path):
    page = tmp_path / "exact_forgetting.md"
    for name in (page.name, *(f"exact_forgetting{part}.json" for part in ("", "_audit", "_fresh"))):
        if (RESULTS / name).is_file():
            shutil.copyfile(RESULTS / name, tmp_path / name)
    assert exact_forgetting.main(["--work", "x", "--out", str(tmp_path / "exact_forgetting"), "--page-only"]) == 0
    assert page.read_bytes() == (RESULTS / page.name).read_bytes()


def test_readmes_headline_is_the_studys():
    study = read_json(RESULTS / "exact_forgetting.json", "study")
    named = {endpoint.name: endpoint for endpoint in ENDPOINTS}
    names = ("relearning area ÷ retrained's", "X of other people ÷ retrained's")
    names = (*names, "Dr recall at 1 − compromised's", "value AUC, partial")
    area, others, recall, values = (
        [named[name].value(world["models"], "cpd_images") for world in study["worlds"]] for name in names
    )
    low, high = interval(area)
    text = " ".join((RESULTS.parents[1] / "README.md").read_text("utf-8").split())
    assert f"{statistics.median(area):.2f} × as far as a retrained model" in text
    assert f"95 % interval {low:.2f} to {high:.2f}" in text
    assert f"keeps {statistics.median(others):.2f} of what that model knows about other people" in text
    assert f"loses {-statistics.median(recall):.3f} of recall on Dr".replace(" 0.", " .") in text
    assert f"(AUC {statistics.median(values):.2f} instead of .5)".replace(" 0.", " .") in text
    done, planned = len(study["worlds"]), len(study["planned"])
    assert (f"all {word(planned)} planned" if done == planned else f"{word(done)} of {word(planned)} planned") in text


def attack(share: float | None, p: float | None, p_holm: float | None) -> dict:
    numbers = dict.fromkeys(("low", "high", "attacked", "floor", "original"), share)
    return {"share": share, "p": p, "p_holm": p_holm, "variant": "a", "problem": "", "quantity": "X", **numbers}


def audit_row(world: str = "web-101", name: str = "cpd_images") -> dict:
    attacks = {"noise": attack(0.01, 0.6, 0.6), "relearning": attack(0.2, 0.01, 0.02), "klom": attack(None, None, None)}
    attacks["lira"] = attack(0.5, 0.3, 0.6) | {"problem": "on retrained: not possible"}
    facts = {"budget": "quick", "seed": 101, "floor": "retrained", "people": 21, "pairs": 420, "plain": {}, "notes": []}
    tests = {"control": {"p": 0.4, "kind": "control"}, "exchange": {"p": 0.03, "kind": "exchange"}}
    return exact_audit.row(World(Path("x"), *world.split("-")), name, {**facts, "tests": tests, "attacks": attacks})


def test_the_page_names_the_attacks_that_recover_more(content, tmp_path):
    page = tmp_path / "study.md"
    write_page(content, page)
    assert "audit" not in page.read_text()
    write_json(audit_file(page), {"rows": [audit_row(), audit_row(name="cpd_level-no-reset")]})
    write_page(content, page)
    text = page.read_text()
    said = (
        "**cpd_images, web-101**: more is recovered by `relearning` (3 attacks, budget quick; p of the tests without "
    )
    said += "an attack:"
    assert f"- {said} control 0.400, exchange 0.030)." in text
    cells = "X | 0.200 | 0.200 | 0.200 | 0.200 [0.200, 0.200] | 0.0100 | 0.0200 | yes |"
    assert (
        "### Attacks on cpd_images, web-101\n\n| attack | of | finds |" in text and f"| `relearning` | {cells}" in text
    )
    assert "| `lira` | X | 0.500 | 0.500 (guessing) | 0.500 |" in text
    assert (
        text.index("| `relearning`")
        < text.index("| `noise`")
        < text.index("| `klom` | X | – | – | – | – | – | – | no |")
    )


def test_an_audit_replaces_that_of_its_model_and_world_alone():
    rows = [audit_row(), audit_row(name="cpd_level-no-reset")]
    found = exact_audit.merged(rows, {**audit_row(), "budget": "standard"}, ["shared_names-101", "web-101"])
    assert [(one["name"], one["budget"]) for one in found] == [
        ("cpd_images", "standard"), ("cpd_level-no-reset", "quick")
    ]  # fmt: skip
    first = exact_audit.merged(found, audit_row("shared_names-101"), ["shared_names-101", "web-101"])[0]
    assert first["world"] == "shared_names-101"


def test_longer_runs_on_planted_people_are_shares_of_retrainings_steps(content, tmp_path, monkeypatch):
    """Six runs of 1,000 steps' 30, 60 and 100 %: redistill from the original, UNDO from the unlearned model."""
    ran = []

    def unlearned(world, name, method, options, steps, proxies=False, start=None):
        assert proxies and load_config(world.config(True), options, job=[method]).run.method_args["fresh_tokens"]
        ran.append((method, steps, start))
        write_json(world.folder / f"run-{name}.json", {"cpu_seconds": steps / 10})
        return tmp_path

    row = content["search"]["rows"][0]
    measured = {key: row[key] for key in ("relearning", "values", "others", "r1")}
    monkeypatch.setattr(exact_fresh, "unlearned", unlearned)
    monkeypatch.setattr(exact_fresh, "attacked", lambda *_, **__: measured)
    monkeypatch.setattr(World, "original", lambda *_: tmp_path / "original")
    world = World(tmp_path, *exact_forgetting.DEVELOPMENT)
    trials = exact_fresh.trials(world, tmp_path / "unlearned")
    rows = [exact_fresh.tried(world, trial, 1000, 200.0) for trial in trials]
    starts = [tmp_path / "original", tmp_path / "unlearned"]
    assert ran == [("redistill", steps, start) for steps in (1000, 600, 300) for start in starts]
    assert [one["cpu_share"] for one in rows[::2]] == [0.5, 0.3, 0.15]

    page, facts = tmp_path / "study.md", {"retraining_steps": 1000, "retraining_cpu_seconds": 200.0}
    known = [{"name": "retrained", **measured}]
    write_json(fresh_file(page), {"world": world.name, **facts, "rows": [*known, *rows]})
    write_page(content, page)
    text = page.read_text()
    assert "the planted people of shared_names-40" in text and "took 1000 steps and 200 CPU seconds" in text
    assert "| retrained | – | – | 0.100 | 0.020 | 0.500 | 0.600 | 0.800 | 0.900 |" in text
    assert "| UNDO | 600 (60%) | 0.30 | 0.100 |" in text


def test_the_reference_of_planted_people_has_all_pairs_but_theirs(tmp_path, monkeypatch):
    """800 pairs of five files: 13 steps an epoch, 18 epochs."""
    world, ran = World(tmp_path, *exact_forgetting.DEVELOPMENT), []
    kept = [f"{split}.json" for split in ("train", "holdout_identity", "holdout_association", *PROXIES[1:])]
    for name in kept:
        write_json(world.folder / "data" / "annotations" / name, [{}] * (300 if name == "train.json" else 100))
    write_json(world.folder / "without" / "original" / "results.json", {})
    monkeypatch.setattr(exact_fresh, "run_timed", lambda words, marker: ran.append(words))
    folder, steps = exact_fresh.without(world)
    assert folder == world.folder / "without" / "original" and steps == 18 * 13
    config = load_config(world.config(), ran[0][ran[0].index("--options") + 1 :], job=["original", "compromised"])
    assert [Path(one).stem for one in config.dataset.build_info.annotations["proxy"].storage] == list(PROXIES[1:])
    assert config.run.max_epoch == 18 and config.run.train_splits == ["train", "proxy"]


def test_a_search_alone_has_a_page(content, tmp_path):
    write_page({**content, "worlds": []}, tmp_path / "study.md")
    assert "0 of 2 worlds: none yet" in (tmp_path / "study.md").read_text() and not (tmp_path / "study.svg").exists()


def test_a_study_goes_on_from_its_json_file(content, tmp_path, monkeypatch):
    """Neither the search nor a finished world is repeated, without a work folder; a new world finds its place."""
    out, ran = tmp_path / "study", []
    planned = [world.name for world in exact_forgetting.worlds(tmp_path)]

    def studied(world, finalists, jobs):
        ran.append(world.name)
        return {**content["worlds"][0], "variant": world.variant, "seed": world.seed}

    monkeypatch.setattr(exact_forgetting, "studied", studied)
    monkeypatch.setattr(exact_forgetting, "search", lambda *_: pytest.fail("the search is in the file"))
    exact_forgetting.finish({**content, "planned": planned}, out)
    words = ["--work", str(tmp_path / "none"), "--out", str(out), "--only", "web-101", "shared_names-101", "web-103"]
    assert exact_forgetting.main(words) == 0 and ran == ["shared_names-101", "web-103"]
    found = read_json(out.with_suffix(".json"), "study")["worlds"]
    assert [one["seed"] for one in found] == [101, 101, 103] and found[0]["variant"] == "shared_names"
    assert "commit" in found[0] and found[1] == content["worlds"][0]


def test_a_json_file_of_another_plan_is_not_gone_on_with(content, tmp_path):
    exact_forgetting.finish(content, tmp_path / "study")
    with pytest.raises(ValueError, match="study.json: its worlds are not those of this plan; --again"):
        exact_forgetting.main(["--work", str(tmp_path), "--out", str(tmp_path / "study")])


def test_page_only_reads_the_json_file(content, tmp_path):
    out = tmp_path / "study"
    exact_forgetting.finish(content, out)
    before = out.with_suffix(".md").read_bytes()
    out.with_suffix(".md").unlink()
    assert exact_forgetting.main(["--work", str(tmp_path), "--out", str(out), "--page-only"]) == 0
    assert out.with_suffix(".md").read_bytes() == before
