"""VQA v2: questions about COCO's images, each with the answers of ten people.

Visual Genome's questions (`dataset: vg`, one answer each) may join in training.

A question without an annotated answer can be neither trained on nor scored, so asking for it is an error; VQA's
public test split is of that kind.
"""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from lavis.common.errors import ConfigError, DataError
from lavis.common.files import read_json
from lavis.common.registry import registry
from lavis.datasets.annotations import Entry, Parse, checked_text
from lavis.datasets.builder import PairBuilder
from lavis.datasets.formats import question_entry, with_answers
from lavis.datasets.pairs import PairDataset
from lavis.datasets.rows import QuestionDataset
from lavis.settings.conditions import chooses_epoch
from lavis.settings.declaration import NOTHING, RESULTS, setting
from lavis.settings.schema import DatasetConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class QuestionConfig(DatasetConfig):
    """`datasets.<name>:` of a VQA data set."""

    answer_list: str = setting(
        "", "JSON list of the answers that are ranked", affects=RESULTS, weights_if=chooses_epoch
    )
    official_answers: str = setting("", "annotation file of visualqa.org: answers for rows that lack them")
    off_list: str = setting(
        "fail",
        "questions none of whose answers is in the list: fail, or keep them (they are counted and logged)",
        choices=("fail", "keep"),
        affects=NOTHING,
    )


@registry.register_builder("coco_vqa")
class VqaBuilder(PairBuilder):
    """coco/annotations/vqa_{train,val,test}.json and answer_list.json."""

    name: ClassVar[str] = "coco_vqa"
    job_names: ClassVar[dict[str, str]] = {"vqa": "vqa"}
    config_class: ClassVar[type[DatasetConfig]] = QuestionConfig
    dataset_class: ClassVar[type[PairDataset]] = QuestionDataset
    parse: ClassVar[Parse] = staticmethod(question_entry)

    @property
    def questions(self) -> QuestionConfig:
        """The configuration, as the class of this builder."""
        assert isinstance(self.config, QuestionConfig)
        return self.config

    @cached_property
    def answer_list(self) -> list[str]:
        """The answers that a model ranks, in the file's order. Raises MissingFile, DataError, ConfigError."""
        key = f"datasets.{self.name}.answer_list"
        if not self.questions.answer_list:
            raise ConfigError(f"{key} is empty: name the JSON list of answers, for example answer_list.json")
        path = Path(self.questions.answer_list)
        answers = read_json(path, "answer list", self.hint)
        if not isinstance(answers, list) or not answers:
            raise DataError(f"{path}: expected a JSON list of answers ({key})")
        texts = [checked_text(answer, "answer", f"{path}: entry {n}") for n, answer in enumerate(answers, start=1)]
        if len(set(texts)) != len(texts):
            raise DataError(
                f"{path}: {len(texts) - len(set(texts))} answers occur more than once; each must be there once"
            )
        return texts

    def read(self, split: str) -> list[Entry]:
        """The questions of a split, with the answers of `official_answers` where their own are missing."""
        found = self._completed(super().read(split))
        self._check_answers(found, split)
        return found

    def train_entries(self, allow_holdout: bool = False) -> list[Entry]:
        return self._answered(super().train_entries(allow_holdout), ", ".join(self.run.train_splits), "train_splits")

    def evaluation_entries(self) -> dict[str, list[Entry]]:
        found = super().evaluation_entries()
        return {split: self._answered(entries, split, "test_splits") for split, entries in found.items()}

    def evaluated(self, entries: list[Entry]) -> list[Entry]:
        return entries

    def _completed(self, entries: list[Entry]) -> list[Entry]:
        path = Path(self.questions.official_answers)
        if not self.questions.official_answers or not path.is_file() or all(e.extra["given"] for e in entries):
            return entries
        official = _official(path)
        return [e if e.extra["given"] else _answered_by(e, official, path) for e in entries]

    def _check_answers(self, entries: list[Entry], split: str) -> None:
        """Every question with answers has one in the list, unless off_list allows others."""
        listed = set(self.answer_list)
        outside = [e for e in entries if e.extra["answers"] and listed.isdisjoint(e.extra["answers"])]
        if not outside:
            return
        first = "; ".join(f"{e.captions[0]!r} ({e.image}): {e.extra['answers'][0]!r}" for e in outside[:3])
        named = self.questions.answer_list
        text = f"split '{split}': {len(outside)} questions have no answer in {named}, the first: {first}"
        if self.questions.off_list == "fail":
            raise DataError(f"{text}; add them to the list, or set datasets.{self.name}.off_list=keep")
        log.warning("%s; ranking cannot answer them", text)

    def _answered(self, entries: list[Entry], split: str, key: str) -> list[Entry]:
        silent = [e for e in entries if not e.extra["given"]]
        if silent:
            raise DataError(
                f"split '{split}': {len(silent)} of {len(entries)} questions have no answers, the first: "
                f"{silent[0].captions[0]!r} ({silent[0].image}); name a split that has them in run.{key}, or the file "
                f"that has them in datasets.{self.name}.official_answers"
            )
        return entries


def _official(path: Path) -> dict[str, list[Any]]:
    """question id -> answers, from {"annotations": [{"question_id", "answers": [{"answer"}, ...]}, ...]}."""
    content = read_json(path, "answer file")
    try:
        items = content["annotations"]
        return {str(item["question_id"]): [answer["answer"] for answer in item["answers"]] for item in items}
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: expected annotations with question_id and answers ({error!r})") from error


def _answered_by(entry: Entry, official: dict[str, list[Any]], path: Path) -> Entry:
    given = official.get(str(entry.extra.get("question_id")), [])
    facts = with_answers(given, False, f"{path} ({entry.image})")
    return dataclasses.replace(entry, extra=entry.extra | facts)
