"""The numbers that SALMUBench's paper gives for SALMU itself, to be set beside ours: never for any other data.

Source: Selvas-Sala, Kang and Gomez, "SALMUBench", CVPR 2026, arXiv 2603.26316. Precision as printed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lavis.report.numbers import Row

SOURCE = "SALMUBench, CVPR 2026, arXiv 2603.26316"
TASK = "salmu_retrieval"
HEADS = (
    *("RetFail R@1", "RetFail MRR", "AssocStr", "ACS", "IdZSC", "CoreAssoc"),
    *("GenKnow", "InterIdSim", "IntraIdSim", "VisIdInt", "FragSim"),
)
CLEAN = ("0", "0.0008", "0.1417", "0.6019", "0.0107", "0.1514", "0.633", "0.1428", "0.1428", "0.3308", "0.3091")
COMPROMISED = (
    "0.1016",
    "0.2361",
    "0.3215",
    "0.9510",
    "0.0836",
    "0.1827",
    "0.638",
    "0.3215",
    "0.3213",
    "0.3052",
    "0.2801",
)
FEW = ("RetFail MRR", "GenKnow", "InterIdSim", "IntraIdSim")
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
    """Published models by name, each with its values by the head of their column; empty for any other task."""
    if not any(row.get("task") == TASK for row in rows):
        return {}
    references = {"Compromised": COMPROMISED, "Clean": CLEAN}
    found = {name: dict(zip(HEADS, values, strict=True)) for name, values in references.items()}
    return {**found, **{name: dict(zip(FEW, values, strict=True)) for name, values in FIVE_PASSES.items()}}
