"""The public evaluator's JSON layout, so that results can be laid beside those of others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from lavis.common.files import plain, write_json

SKIPPED = -1
PREFIX = "salmubench_"
LAYOUT: dict[str, dict[str, dict[str, str]]] = {
    "efficacy": {
        "1.1_RetFail": {"R@1": "retfail_r1", "MRR": "retfail_mrr"},
        "1.2_AssocStr": {"mean": "assoc_str"},
        "1.3_ACS": {"acs_accuracy": "acs"},
        "1.4_IdZSC": {"identity_classification_accuracy": "idzsc"},
        "1.5_CoreAssoc": {"mean": "core_assoc"},
    },
    "utility": {
        "2.1_GenKnow": {"ImageNet1k_Accuracy": "imagenet"},
        "2.2_InterIdSim": {"mean": "inter_id_sim"},
        "2.3_IntraIdSim": {"mean": "intra_id_sim"},
        "2.4_VisIdInt": {"mean": "vis_id_int"},
        "2.5_FragSim": {"mean": "frag_sim"},
    },
}


def public_layout(metrics: Mapping[str, float]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Flat metrics ("salmubench_retfail_mrr", ...) in the public evaluator's nesting.

    GenKnow is −1 when ImageNet was not measured ("salmubench_imagenet" is absent): another data set's classes are
    not ImageNet's accuracy. Any other metric that is absent or not finite is null.
    """
    return {
        part: {title: {key: _number(metrics, name) for key, name in fields.items()} for title, fields in rows.items()}
        for part, rows in LAYOUT.items()
    }


def write_public_layout(folder: str | Path, checkpoint: str, metrics: Mapping[str, float]) -> Path:
    """Write `evaluation_<checkpoint>.json` into a folder, whole or not at all; returns its path.

    Characters of the checkpoint's name that are neither letters, digits, dots, hyphens nor underscores become "_".
    """
    path = Path(folder) / f"evaluation_{re.sub(r'[^A-Za-z0-9._-]+', '_', checkpoint)}.json"
    write_json(path, public_layout(metrics), indent=2)
    return path


def _number(metrics: Mapping[str, float], name: str) -> float | None:
    value = metrics.get(PREFIX + name, SKIPPED if name == "imagenet" else None)
    return plain(value)
