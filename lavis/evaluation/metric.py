"""What a metric is: the data it needs, the columns it fills, and the function that fills them.

A metric is one file. It registers a class under the name that `run.metrics` lists:

    @registry.register_metric("modality_gap")
    class ModalityGap(Metric):
        columns = (Column("modality_gap", "modality gap", "distance between the two modalities' mean embeddings"),)

        def __call__(self, context: Context) -> dict[str, float]:
            ...

Its numbers then appear in results.json, in the table at the end of a run, in the report and its CSV, and in the schema
page: all of these read the columns from the registry.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lavis.datasets.annotations import Entry
from lavis.evaluation.context import Context
from lavis.settings.schema import RunConfig

DOWN, UP, TARGET = "↓", "↑", "→"
DIRECTIONS = {
    DOWN: "lower is better",
    UP: "higher is better",
    TARGET: "the target's value is best, above and below are worse",
}
DECIMALS = 6  # of every number in results.json
DISTANCE, HEADLINE, SEARCH = "distance", "headline", "search"  # uses of a column


class NotMeasured(Exception):  # noqa: N818 - not an error: the data set lacks what a metric needs
    """A metric has no value here; the text says what is missing."""


@dataclass(frozen=True)
class Group:
    """A table of the report.

    `suite`: shown only where a metric of that suite was measured. `published`: the columns of a published benchmark,
    all of which are shown; of other groups those that any row has.
    """

    title: str
    order: int = 100
    suite: str = ""
    published: bool = False


RETRIEVAL = Group("Retrieval and similarity", 90)
RESIDUE = Group("What is left behind", 30, suite="salmubench")
OTHER = Group("Other metrics")


@dataclass(frozen=True)
class Column:
    """One number of a model, and how it is shown.

    key: its name in results.json. title: head of its column. help: what it says, in one line. decimals: of its display.
    direction: DOWN, UP or TARGET. aim: the best value, where that is a number whatever the target model has.
    groups: the tables that show it, `order` its place there. percent: the value is given in percent.
    uses: DISTANCE (part of the distance to retraining), HEADLINE (shown where several checkpoints are compared),
    SEARCH (part of the distance by which settings are chosen). gap: name of the derived column that holds its absolute
    difference from retrained's. public: its place in the public evaluator's file (part, metric, key); published: the
    values that the benchmark's paper gives for its Clean and Compromised models, as printed. instead_of: the key of the
    column in whose place it is shown as soon as any row has it.
    """

    key: str
    title: str
    help: str
    decimals: int = 3
    direction: str = TARGET
    aim: float | None = None
    groups: tuple[Group, ...] = (OTHER,)
    order: int = 100
    percent: bool = False
    uses: tuple[str, ...] = ()
    gap: str = ""
    public: tuple[str, str, str] | None = None
    published: tuple[str, str] | None = None
    instead_of: str = ""


class Metric:
    """Base of metrics; an instance has no state.

    Class attributes: `columns`, the numbers that the report shows; `split_columns`, those it has for every split, with
    the key "<split>_<key>" ("df_txt_r1"), shown in the table at the end of a run. `kinds`: the contexts it is defined
    on ("pairs": image and text embeddings; "rows": answers to one row at a time). `suite`: a second name by which
    run.metrics may ask for it together with others. `splits` and `metadata_files`: the evaluated splits and metadata
    files that it needs; without them it is reported as not measured. `partitions`: whether run.shard_features works.
    `per_epoch`: whether it is also measured on run.valid_splits after every epoch. `files`: what it writes into the run
    folder, deleted before the next evaluation. `order`: of its turn among the metrics.
    """

    columns: ClassVar[tuple[Column, ...]] = ()
    split_columns: ClassVar[tuple[Column, ...]] = ()
    kinds: ClassVar[tuple[str, ...]] = ("pairs",)
    suite: ClassVar[str] = ""
    splits: ClassVar[tuple[str, ...]] = ()
    metadata_files: ClassVar[tuple[str, ...]] = ()
    partitions: ClassVar[bool] = False
    per_epoch: ClassVar[bool] = False
    files: ClassVar[tuple[str, ...]] = ()
    order: ClassVar[int] = 100

    def check(self, run: RunConfig, features: type) -> None:
        """Raise ConfigError where a run cannot measure this; asked before anything is built.

        features: the kind of features of the model (lavis.common.features).
        """

    def __call__(self, context: Context) -> dict[str, float]:
        """The numbers of the context's model by their keys.

        Raises NotMeasured where the data lacks what is needed, DataError where the embeddings allow no value.
        """
        raise NotImplementedError

    def images(self, context: Context) -> Iterable[Sequence[Entry]]:
        """Entries whose images it needs beyond the evaluated splits, to be embedded in the same pass."""
        return ()

    @property
    def keys(self) -> list[str]:
        """The numbers that are reported as broken where the embeddings allow no value."""
        return [column.key for column in self.columns]
