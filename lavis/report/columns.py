"""The columns of the report's tables: the benchmark's ten metrics, ours beside them, and retrieval's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lavis.report import published
from lavis.report.numbers import Row, broken, number

DOWN, UP, AIM = "↓", "↑", "→"
ARROWS = {DOWN: "lower is better", UP: "higher is better", AIM: "the target's value is best, above and below are worse"}


@dataclass(frozen=True)
class Column:
    """A metric in a table: its key, short title, decimals, what it says, and which way is better.

    `aim` is the best value where it is a number whatever the target has.
    """

    key: str
    title: str
    decimals: int
    help: str
    direction: str = AIM
    aim: float | None = None


@dataclass(frozen=True)
class Table:
    """Columns under a title; `ours` where the benchmark does not have them, `whole` where none is left out."""

    title: str
    columns: tuple[Column, ...]
    ours: bool = True
    whole: bool = False


PAPER = (
    Column("salmubench_retfail_r1", "RetFail R@1", 4, "true caption first among itself, forget and retain texts", DOWN),
    Column("salmubench_retfail_mrr", "RetFail MRR", 4, "the same as mean reciprocal rank; the primary efficacy", DOWN),
    Column("salmubench_assoc_str", "AssocStr", 3, "mean cosine of forgotten images with their captions"),
    Column("salmubench_acs", "ACS", 3, "accuracy of a probe telling true from shuffled forget pairs"),
    Column("salmubench_idzsc", "IdZSC", 3, "zero-shot accuracy of the forgotten identity's name", DOWN),
    Column("salmubench_core_assoc", "CoreAssoc", 3, 'larger cosine of "name value" and "value name", mean over forget'),
    Column("salmubench_gen_know", "GenKnow", 3, "zero-shot accuracy on the data set's own classes", UP),
    Column("salmubench_inter_id_sim", "InterIdSim", 3, "mean paired cosine of people who are not in the forget set"),
    Column("salmubench_intra_id_sim", "IntraIdSim", 3, "mean paired cosine of other facts of forgotten people"),
    Column("salmubench_vis_id_int", "VisIdInt", 3, "mean paired cosine of ordinary captions of forgotten people", UP),
    Column(
        "salmubench_frag_sim", "FragSim", 3, "mean paired cosine of retained pairs that look like forgotten ones", UP
    ),
)
IMAGENET = Column("salmubench_imagenet", "GenKnow", 3, "ImageNet-1k zero-shot top-1 accuracy", UP)
IDENTITIES = (
    Column("salmubench_x_mrr", "X", 3, "MRR among all persona captions, own identity's other captions left out"),
    Column("salmubench_x_mrr_whole", "X whole", 3, "X of identities whose every sensitive picture is to be forgotten"),
    Column(
        "salmubench_x_mrr_partial", "X partial", 3, "X of identities of whom only some pictures are to be forgotten"
    ),
    Column("salmubench_x_mrr_holdout_identity", "X other people", 3, "X of people who are not in the forget set"),
    Column("salmubench_x_mrr_holdout_association", "X other facts", 3, "X of other facts of the forgotten people"),
    Column("salmubench_retfail_mrr_others", "RetFail apart", 4, "RetFail MRR, own identity's other captions left out"),
    Column("salmubench_assoc_str_whole", "AssocStr whole", 3, "AssocStr of whole identities"),
    Column("salmubench_assoc_str_partial", "AssocStr partial", 3, "AssocStr of partial identities"),
    Column("salmubench_value_auc_whole", "value AUC whole", 3, "true value among fictitious ones; 0.5 is chance"),
    Column("salmubench_value_auc_partial", "value AUC partial", 3, "the same for partial identities"),
)
RESIDUE = (
    Column("salmubench_linear_probe", "linear probe", 3, "identity read from frozen features of forgotten images"),
    Column("mia_auc", "membership AUC", 3, "telling forget from retain pairs by similarity"),
    Column("membership_gap", "membership gap", 3, "distance of that AUC from retrained's, two-sided", DOWN, 0.0),
    Column("relearn_auc", "relearning AUC", 3, "area under X while a tenth of the forget set is trained again"),
    Column("relearn_auc_whole", "relearning whole", 3, "the same for whole identities"),
    Column("salmubench_int8_retfail_mrr", "int8 RetFail", 4, "RetFail MRR with linear layers in 8 bits", DOWN),
    Column("salmubench_int8_assoc_str", "int8 AssocStr", 3, "AssocStr with linear layers in 8 bits"),
    Column("salmubench_int8_gen_know", "int8 GenKnow", 3, "GenKnow with linear layers in 8 bits", UP),
)
STANDING = (
    Column("distance_retrained", "distance to retrained", 3, "mean |difference| of all compared metrics", DOWN, 0.0),
    Column("distance_clean", "distance to clean", 3, "the same to a model that saw nobody's facts"),
)
RETRIEVAL = (
    Column("df_cosine", "forget cosine", 3, "mean cosine of forgotten images with their captions"),
    Column(
        *("forgotten_percent", "way to target %", 0, "0: as compromised, 100: as the target, above: over-forgotten"),
        aim=100.0,
    ),
    Column(
        *("target_distance", "distance to target", 3),
        *("mean absolute difference of all splits' cosines from the target", DOWN, 0.0),
    ),
    Column("df_txt_r1", "forget txt R@1", 1, "forgotten images whose own caption ranks first, percent"),
    Column("df_img_r1", "forget img R@1", 1, "forgotten captions whose own image ranks first, percent"),
    Column("mia_auc", "membership AUC", 3, "telling forget from retain pairs by similarity"),
    Column("dr_cosine", "retain cosine", 3, "mean cosine of retained images with their captions"),
    Column("dr_txt_r1", "retain txt R@1", 1, "retained images whose own caption ranks first, percent"),
    Column("dr_img_r1", "retain img R@1", 1, "retained captions whose own image ranks first, percent"),
    Column("dr_kept_percent", "retain kept %", 0, "retain recall@1 in percent of compromised's", aim=100.0),
    Column("test_txt_r1", "test txt R@1", 1, "unseen images whose own caption ranks first, percent"),
    Column("test_img_r1", "test img R@1", 1, "unseen captions whose own image ranks first, percent"),
    Column("holdout_association_cosine", "held-out facts cosine", 3, "other facts of the forgotten people"),
    Column("holdout_identity_cosine", "held-out people cosine", 3, "people that are not in the forget set"),
)


def has(rows: Iterable[Row], key: str) -> bool:
    """Whether any row has tried to measure this."""
    return any(number(row, key) is not None or (key in row["metrics"] and broken(row, key)) for row in rows)


def is_benchmark(rows: Iterable[Row]) -> bool:
    """Whether any row has metrics of SALMUBench."""
    return any(key.startswith("salmubench_") for row in rows for key in row["metrics"])


def benchmark_tables(rows: Sequence[Row]) -> list[Table]:
    """SALMUBench's tables; none without its metrics. GenKnow is ImageNet's wherever a row has it."""
    if not is_benchmark(rows):
        return []
    imagenet = has(rows, IMAGENET.key) or any(row.get("task") == published.TASK for row in rows)
    ten = tuple(IMAGENET if imagenet and column.title == IMAGENET.title else column for column in PAPER)
    tables = [
        Table("The ten metrics", ten, ours=False, whole=True),
        Table("Whole and partial identities", IDENTITIES),
        Table("What is left behind", RESIDUE),
    ]
    return [table for table in tables if columns_of(table, rows)]


def columns_of(table: Table, rows: Sequence[Row]) -> list[Column]:
    """A table's columns: all of them, or those that any row has."""
    return [column for column in table.columns if table.whole or has(rows, column.key)]


def missing_of(table: Table, rows: Sequence[Row]) -> list[Column]:
    """The columns that are left out because no row has them."""
    shown = columns_of(table, rows)
    return [column for column in table.columns if column not in shown]


def readable(text: str) -> str:
    """A sentence with metrics called by the heads of their columns instead of their keys, and true minus signs."""
    return _MINUS.sub("−", _KEY.sub(lambda found: HEADS.get(found.group(), found.group()), text))


HEADS = {
    **{column.key: column.title for column in (*RETRIEVAL, *RESIDUE, *IDENTITIES, IMAGENET, *PAPER)},
    "salmubench_retfail_mrr_whole": "RetFail MRR whole",
}
_KEY = re.compile(r"\b[a-z][a-z0-9]*(?:_[a-z0-9]+)+\b")
_MINUS = re.compile(r"(?<![\w-])-(?=\d)")
