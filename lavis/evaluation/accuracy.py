"""Accuracy of tasks that are answered row by row (VQA, NLVR2, visual entailment), and the confidence behind it."""

from __future__ import annotations

from lavis.common.registry import registry
from lavis.evaluation.context import Context, RowContext
from lavis.evaluation.metric import Column, Metric


@registry.register_metric("accuracy")
class Accuracy(Metric):
    """Of every split: accuracy in percent (LAVIS calls it "agg_metrics") and mean confidence in the own answer."""

    split_columns = (
        Column("acc", "accuracy", "answers that are right, in percent", 2, percent=True),
        Column("confidence", "confidence", "mean confidence in the rows' own answers", 4),
    )
    kinds = ("rows",)
    per_epoch = True
    order = 10

    def __call__(self, context: Context) -> dict[str, float]:
        assert isinstance(context, RowContext)
        found: dict[str, float] = {}
        for split in context.splits:
            correct, confidence = (float(context.rows(split)[:, column].mean()) for column in (0, 1))
            found |= {f"{split}_acc": 100 * correct, f"{split}_agg_metrics": 100 * correct}
            found[f"{split}_confidence"] = confidence
        return found
