"""Accuracy and confidence of tasks that are answered row by row (VQA, NLVR2, visual entailment)."""

from __future__ import annotations

from lavis.common.registry import registry
from lavis.evaluation.context import Context, RowContext
from lavis.evaluation.metric import HEADLINE, Column, Metric


@registry.register_metric("accuracy")
class Accuracy(Metric):
    """Accuracy in percent (LAVIS calls it "agg_metrics") and mean confidence in the row's own answer, per split."""

    split_columns = (
        Column("acc", "accuracy", "answers that are right, in percent", 2, percent=True, uses=(HEADLINE,)),
        Column("confidence", "confidence", "mean confidence in the rows' own answers", 4),
    )
    kinds = ("rows",)
    per_epoch = True
    order = 10

    def __call__(self, context: Context) -> dict[str, float]:
        assert isinstance(context, RowContext)
        metrics: dict[str, float] = {}
        for split in context.splits:
            correct, confidence = (float(context.rows(split)[:, column].mean()) for column in (0, 1))
            metrics |= {f"{split}_acc": 100 * correct, f"{split}_agg_metrics": 100 * correct}
            metrics[f"{split}_confidence"] = confidence
        return metrics
