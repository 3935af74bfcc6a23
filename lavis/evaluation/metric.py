"""The base class of metrics: what data a metric needs, which columns it fills, and how.

A metric is one file that registers a class under its name in `run.metrics`:

    @registry.register_metric("modality_gap")
    class ModalityGap(Metric):
        columns = (Column("modality_gap", "modality gap", "distance between the two modalities' mean embeddings"),)

        def __call__(self, context: Context) -> dict[str, float]:
            ...

Its values then appear in results.json, in the table at the end of a run, in the report and its CSV, and on the schema
page, which all read the columns from the registry.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lavis.common.errors import ConfigError
from lavis.common.features import PairFeatures
from lavis.datasets.annotations import Entry
from lavis.evaluation.context import Context
from lavis.settings.schema import RunConfig

DOWN, UP, TARGET = "↓", "↑", "→"
DIRECTIONS = {
    DOWN: "lower is better",
    UP: "higher is better",
    TARGET: "the target's value is best, above and below are worse",
}
DECIMALS = 6  # in results.json
DISTANCE, HEADLINE, SEARCH = "distance", "headline", "search"  # uses of a column


class NotMeasured(Exception):  # noqa: N818 - not an error: the data set lacks what a metric needs
    """A metric has no value here; the message says what is missing."""


@dataclass(frozen=True)
class Group:
    """A table of the report.

    `suite`: shown only if a metric of that suite was measured. `published`: a published benchmark, all of whose columns
    are shown; other tables show the columns that any row has.
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

    key: its name in results.json. title: the column's heading. help: its meaning in one line. decimals: digits shown.
    direction: DOWN, UP or TARGET. aim: the best value if it is a fixed number and not the target model's value.
    groups: the tables that show it, at place `order`. percent: the value is in percent.
    uses: DISTANCE (part of the distance to retraining), HEADLINE (shown when several checkpoints are compared),
    SEARCH (part of the distance by which settings are chosen). gap: name of the derived column with its absolute
    difference from the retrained model's value. public: its place in the public evaluator's file (part, metric, key).
    published: the values that the benchmark's paper prints for its Clean and Compromised models. instead_of: key of a
    column that it replaces once any row has it. optional: whether it is left out of its tables until any row has it.
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
    optional: bool = False


class Metric:
    """Base class of metrics; instances have no state.

    Class attributes: `columns`, the numbers that the report shows; `split_columns`, numbers for each split under the
    key "<split>_<key>" ("df_txt_r1"), shown in the table at the end of a run. `kinds`: the contexts it is defined on
    ("pairs": image and text embeddings; "rows": answers to one row at a time). `suite`: name under which run.metrics
    lists it together with others. `splits` and `metadata_files`: what it needs, else it is reported as not measured.
    `partitions`: whether it works with run.shard_features. `per_epoch`: whether it is also measured on run.valid_splits
    after every epoch. `files`: what it writes into the run folder; they are deleted before the next evaluation.
    `order`: its place in the order of measurement.
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
        """Raise ConfigError if a run with this class of features cannot measure it; called before anything is built."""

    def __call__(self, context: Context) -> dict[str, float]:
        """The values by key. Raises NotMeasured if the data lacks something, DataError if embeddings are unusable."""
        raise NotImplementedError

    def images(self, context: Context) -> Iterable[Sequence[Entry]]:
        """Entries outside the evaluated splits whose images it needs, to be embedded in the same pass."""
        return ()

    @property
    def keys(self) -> list[str]:
        """The values that become NaN if the embeddings are unusable."""
        return [column.key for column in self.columns]

    def broken(self, context: Context) -> dict[str, float]:
        """NaN for every value that the tables show of a model: a broken one has none."""
        split_keys = [f"{split}_{column.key}" for split in context.splits for column in self.split_columns]
        return dict.fromkeys([*self.keys, *split_keys], float("nan"))


def need_two_towers(name: str, features: type) -> None:
    """Raise ConfigError for a metric whose model has not image and text embeddings of its own."""
    if features is not PairFeatures:
        raise ConfigError(f"run.metrics={name} needs a model of two towers, such as clip")
