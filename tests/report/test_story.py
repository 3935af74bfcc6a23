"""The report's first lines: one sentence per method, and what to do next."""

from __future__ import annotations

import re
from typing import Any

import pytest

from lavis.report.page import Report, render
from lavis.report.story import next_steps, stories
from tests.report.reader import Reader
from tests.report.rows import row

X, INTER, INTRA = "salmubench_x_mrr_whole", "salmubench_inter_id_sim", "salmubench_intra_id_sim"
KNOW, ASSOC = "salmubench_gen_know", "salmubench_assoc_str"


def model(name: str, *values: float, **more: Any) -> dict[str, Any]:
    """A row with: recall left, other people, other facts, general knowledge, and a retain recall of 90 %."""
    metrics = dict(zip((X, INTER, INTRA, KNOW), values, strict=True))
    return row(name, **{"dr_txt_r1": 90.0, **metrics, **more})


REFERENCES = (
    model("compromised", 1.0, 0.8, 0.8, 0.9),
    model("clean", 0.0, 0.0, 0.0, 0.9),
    model("retrained", 0.0, 0.8, 0.8, 0.9),
)
SENTENCES = {
    (0.0, 0.8, 0.8, 0.9): "forgot the 630 pairs and kept the rest",
    (
        0.0,
        0.04,
        0.8,
        0.9,
    ): "forgot the 630 pairs and also everybody else’s: 95 % of other people’s associations are gone",
    (0.05, 0.04, 0.16, 0.45): (
        "forgot the 630 pairs and also everybody else’s: 95 % of other people’s associations, 80 % of the other facts "
        "about the same people and 50 % of its general knowledge are gone"
    ),
    (
        0.0,
        -0.4,
        0.8,
        0.9,
    ): "forgot the 630 pairs and also everybody else’s: 100 % of other people’s associations are gone",
    (0.0, 0.8, 0.8, 0.45): "forgot the 630 pairs, but at a price: 50 % of its general knowledge is gone",
    (0.97, 0.8, 0.8, 0.9): (
        "did not forget the 630 pairs: 97 % of what the original knew of them is left; the rest is kept"
    ),
    (0.4, 0.8, 0.08, 0.9): (
        "forgot the 630 pairs only in part: 40 % of what the original knew of them is left; "
        "90 % of the other facts about the same people are gone"
    ),
}


@pytest.mark.parametrize("values", SENTENCES)
def test_each_method_has_its_sentence(values: tuple[float, ...]) -> None:
    (found,) = stories([*REFERENCES, model("vlul", *values)])
    assert (found.name, found.text) == ("vlul", SENTENCES[values])


def test_what_lies_below_a_model_that_never_saw_the_pairs() -> None:
    scale = {"compromised": 0.9, "clean": 0.1, "retrained": 0.2}
    references = [{**one, "metrics": one["metrics"] | {ASSOC: scale[one["name"]]}} for one in REFERENCES]
    (found,) = stories([*references, model("simmin", 0.0, 0.8, 0.8, 0.9, **{ASSOC: -0.5})])
    assert found.text == (
        "forgot the 630 pairs, but at a price: the forgotten pairs match less than in a model that never saw them"
    )


def test_a_broken_model_and_seeds_that_differ() -> None:
    broken = model("a", 0.0, 0.8, 0.8, None)  # type: ignore[arg-type]
    one, other = model("b", 0.0, 0.8, 0.8, 0.9), model("b", 0.15, 0.8, 0.8, 0.9)
    report = Report([*REFERENCES, broken, one, {**other, "seed": 43}])
    first, second = stories(report.rows)
    assert first.text.startswith("is broken")
    assert second.text == "forgot the 630 pairs and kept the rest (mean of seeds that got different verdicts)"


def visible(page: str) -> str:
    """The page's text without its style sheet."""
    return " ".join(Reader(re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)).texts)


def own_data(name: str, forget: float, keep: float, seed: int = 42) -> dict[str, Any]:
    """A row as a user's own table gives it: no holdouts, no benchmark."""
    numbers = {"df_txt_r1": forget, "df_img_r1": forget, "dr_txt_r1": keep, "dr_img_r1": keep}
    return {**row(name, seed), "metrics": numbers}


def test_without_a_retrained_model_nothing_is_compared_with_it() -> None:
    found = [own_data("compromised", 98, 95), own_data("erase_hold", 3.1, 93)]
    (told,) = stories(found)
    assert told.text == (
        "has 3.1 % recall@1 on the 630 pairs to forget (before: 98.0 %) and 93.0 % on those to keep (before: 95.0 %)"
    )
    read = visible(render(Report(found)))
    sentences = [line for line in read.replace("\n", ". ").split(". ") if "retrain" in line.lower()]
    assert len(sentences) == 1 and "add retrained to the sweep’s references" in sentences[0]


def test_benchmark_rows_without_a_retrained_model_name_no_such_model() -> None:
    found = [*REFERENCES[:2], model("delete", 0.0, 0.04, 0.8, 0.9)]
    assert "retrain" not in visible(render(Report(found))).lower()


def test_tasks_without_recall_are_told_by_their_own_percentage() -> None:
    numbers = {"compromised": {"df_acc": 90.0, "dr_acc": 91.0}, "vlul": {"df_acc": 60.0, "dr_acc": 80.0}}
    (told,) = stories([{**row(name), "metrics": metrics} for name, metrics in numbers.items()])
    assert told.text.startswith("has 60.0 % accuracy on the 630 pairs to forget (before: 90.0 %) and 80.0 % on those")
    (alone,) = stories([row("vlul")])
    assert alone.text.startswith("cannot be judged")


def test_the_best_method_is_to_be_attacked_next() -> None:
    steps = next_steps([*REFERENCES, model("good", 0.0, 0.8, 0.8, 0.9), model("delete", 0.0, 0.04, 0.8, 0.9)])
    assert [step.command for step in steps] == [("multidelete", "audit", "output/good/42"), ()]
    assert "Repeat good with 3 seeds" in steps[1].text


def test_if_every_method_failed_the_steps_say_what_to_change() -> None:
    steps = next_steps([*REFERENCES, model("ft", 0.97, 0.8, 0.8, 0.9), model("delete", 0.0, 0.04, 0.8, 0.9)])
    assert [step.text.partition(":")[0] for step in steps[:2]] == ["ft", "delete"]
    assert steps[-1].command[:3] == ("python", "bash/run.py", "--search")
    assert next_steps(REFERENCES) == [] and stories(REFERENCES) == []


def test_the_sentences_come_before_everything_else() -> None:
    page = render(Report([*REFERENCES, model("delete", 0.0, 0.04, 0.8, 0.9)]))
    assert page.index('id="story-0"') < page.index('id="summary-0"') < page.index('id="verdicts-0"')
    assert "95 % of other people’s associations are gone" in page and "What to do next" in page
