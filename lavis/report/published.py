"""The results that SALMUBench's paper reports on SALMU itself, for comparison with ours on the same data only.

Source: Selvas-Sala, Kang and Gomez, "SALMUBench", CVPR 2026, arXiv 2603.26316. Precision as printed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lavis.evaluation.measure import all_columns
from lavis.report.numbers import Row

SOURCE = "SALMUBench, CVPR 2026, arXiv 2603.26316"
TASK = "salmu_retrieval"
FEW = ("salmubench_retfail_mrr", "salmubench_imagenet", "salmubench_inter_id_sim", "salmubench_intra_id_sim")
FIVE_PASSES = {
    "CLIPErase, 5×": ("0.001", "0.634", "0.024", "0.024"),
    "DELETE, 5×": ("0.001", "0.632", "0.023", "0.023"),
    "VLUnlearn, 5×": ("0.001", "0.638", "0.210", "0.210"),
    "Finetuning, 5×": ("0.003", "0.638", "0.209", "0.209"),
    "Negative gradient, 5×": ("0.009", "0.630", "0.063", "0.061"),
    "Shuffled captions, 5×": ("0.004", "0.548", "0.212", "0.212"),
    "Direct similarity minimisation, 5×": ("0.001", "0.615", "−0.420", "−0.425"),
}


def published(rows: Sequence[Row]) -> dict[str, Mapping[str, str]]:
    """Published models by name, each with its values by column key; empty for any other task."""
    if not any(row.get("task") == TASK for row in rows):
        return {}
    models: dict[str, Mapping[str, str]] = {
        name: {column.key: column.published[place] for column in all_columns() if column.published}
        for place, name in ((1, "Compromised"), (0, "Clean"))
    }
    return models | {name: dict(zip(FEW, values, strict=True)) for name, values in FIVE_PASSES.items()}
