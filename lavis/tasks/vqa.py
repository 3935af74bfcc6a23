"""Visual question answering: the official accuracy of answers that are generated, or ranked from a list."""

from __future__ import annotations

from typing import Any

import torch

from lavis.common.registry import registry
from lavis.datasets.annotations import Entry
from lavis.datasets.vqa import VqaBuilder
from lavis.evaluation.vqa import question_accuracy
from lavis.models.base import Inputs
from lavis.tasks.rowwise import RowwiseTask


@registry.register_task("vqa")
class VqaTask(RowwiseTask):
    """Accuracy of VQA v2, with the mean log-likelihood of people's answers as confidence.

    run.inference_method: rank (by likelihood, the run.num_ans_candidates answers of the data set's list with the
    likeliest first token) or generate (with run.num_beams beams).
    """

    builder: VqaBuilder

    def measure(self, model: Any, inputs: Inputs, entries: list[Entry]) -> torch.Tensor:
        predictions = self._answers(model, inputs)
        given = [entry.extra["given"] for entry in entries]
        right = [question_accuracy(*row, self.run.vqa_rule) for row in zip(predictions, given, strict=True)]
        sure = model.confidence(inputs).float()
        return torch.stack([torch.tensor(right).to(sure), sure], dim=1)

    def _answers(self, model: Any, inputs: Inputs) -> list[str]:
        if self.run.inference_method == "generate":
            return model.generate(inputs, num_beams=self.run.num_beams)
        listed = self.builder.answer_list
        return [listed[n] for n in model.rank_answers(inputs, listed, self.run.num_ans_candidates).tolist()]
