"""VQA v2: questions about COCO's images, each with the answers of ten people.

Questions of Visual Genome (`dataset: vg`, one answer each) may be added to the training set.

A question without annotated answers can be neither trained on nor scored, so using one is an error. VQA's public test
split has no answers.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from lavis.common.errors import ConfigError, DataError, first_few
from lavis.common.files import read_json
from lavis.common.registry import registry
from lavis.datasets.annotations import Entry, Parse, checked_text
from lavis.datasets.builder import PairBuilder
from lavis.datasets.formats import question_entry, with_answers
from lavis.datasets.pairs import PairDataset
from lavis.datasets.rows import QuestionDataset
from lavis.settings.conditions import chooses_epoch
from lavis.settings.data_schema import DatasetConfig
from lavis.settings.declaration import NOTHING, RESULTS, setting

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class QuestionConfig(DatasetConfig):
    """The section `datasets.<name>` of a VQA data set."""

    answer_list: str = setting(
        "", "JSON file with the list of answers that a model ranks", affects=RESULTS, weights_if=chooses_epoch
    )
    official_answers: str = setting("", "annotation file of visualqa.org, with answers for questions that lack them")
    off_list: str = setting(
        "fail",
        "questions without any answer in the list: fail, or keep (they are counted and logged)",
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
    merges_captions: ClassVar[bool] = False

    @property
    def data_files(self) -> list[Path]:
        return [*super().data_files, Path(self.questions.answer_list), Path(self.questions.official_answers)]

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
            raise ConfigError(f"{key} is empty; set it to the JSON list of answers, for example answer_list.json")
        path = Path(self.questions.answer_list)
        answers = read_json(path, "answer list", self.hint)
        if not isinstance(answers, list) or not answers:
            raise DataError(f"{path}: expected a JSON list of answers ({key})")
        texts = [checked_text(answer, "answer", f"{path}: entry {n}") for n, answer in enumerate(answers, start=1)]
        if len(set(texts)) != len(texts):
            raise DataError(f"{path}: {len(texts) - len(set(texts))} answers occur more than once; remove the copies")
        return texts

    def read(self, split: str) -> Sequence[Entry]:
        """Read the questions of a split; answers that are missing come from `official_answers`."""
        entries = self._completed(super().read(split))
        self._check_answers(entries, split)
        return entries

    def train_entries(self, allow_holdout: bool = False) -> Sequence[Entry]:
        return self._answered(super().train_entries(allow_holdout), ", ".join(self.run.train_splits), "train_splits")

    def evaluation_entries(self) -> dict[str, list[Entry]]:
        splits = super().evaluation_entries()
        return {split: self._answered(entries, split, "test_splits") for split, entries in splits.items()}

    def _completed(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        path = Path(self.questions.official_answers)
        if not self.questions.official_answers or not path.is_file() or all(e.extra["given"] for e in entries):
            return entries
        official = _official(path)
        return [e if e.extra["given"] else _with_official(e, official, path) for e in entries]

    def _check_answers(self, entries: Sequence[Entry], split: str) -> None:
        """Check that every question with answers has one in the list; off_list decides about the others."""
        listed = set(self.answer_list)
        unlisted = [e for e in entries if e.extra["answers"] and listed.isdisjoint(e.extra["answers"])]
        if not unlisted:
            return
        first = first_few([repr(entry.extra["answers"][0]) for entry in unlisted])
        message = f"split '{split}': {len(unlisted)} questions have no answer in {self.questions.answer_list}, "
        message += f"the first answers: {first}"
        if self.questions.off_list == "fail":
            raise DataError(f"{message}; add the answers to the list, or set datasets.{self.name}.off_list=keep")
        log.warning("%s; ranking cannot answer them", message)

    def _answered(self, entries: Sequence[Entry], split: str, key: str) -> list[Entry]:
        """Return the entries. Raises DataError if a question has no answers."""
        unanswered = [e for e in entries if not e.extra["given"]]
        if unanswered:
            raise DataError(
                f"split '{split}': {len(unanswered)} of {len(entries)} questions have no answers, the first on "
                f"image {self.aliases(unanswered[0].image)}; set run.{key} to a split with answers, or "
                f"datasets.{self.name}.official_answers to a file with them"
            )
        return list(entries)


def _official(path: Path) -> dict[str, list[Any]]:
    """Answers by question id, from {"annotations": [{"question_id", "answers": [{"answer"}, ...]}, ...]}."""
    content = read_json(path, "answer file")
    try:
        items = content["annotations"]
        return {str(item["question_id"]): [answer["answer"] for answer in item["answers"]] for item in items}
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: expected annotations with question_id and answers ({error!r})") from error


def _with_official(entry: Entry, official: dict[str, list[Any]], path: Path) -> Entry:
    answers = official.get(str(entry.extra.get("question_id")), [])
    fields = with_answers(answers, False, f"{path} ({entry.image})")
    return dataclasses.replace(entry, extra=entry.extra | fields)
