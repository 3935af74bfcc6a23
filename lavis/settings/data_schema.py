"""The section `datasets.<name>` of a YAML file: the processors and the files of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lavis.settings.conditions import chooses_epoch, trained_or_chosen_on
from lavis.settings.declaration import NOTHING, RESULTS, SEED, Section, setting


@dataclass(frozen=True)
class StageProcessors(Section):
    """One processor for training, one for evaluation: {name: registered name, <argument>: value}."""

    train: dict[str, Any] = setting({}, "processor for training")
    eval: dict[str, Any] = setting({}, "processor for evaluation", affects=RESULTS, weights_if=chooses_epoch)


@dataclass(frozen=True)
class ImageStorage(Section):
    """`build_info.images:` — where the images are."""

    storage: str = setting("", "the folder that image paths are relative to, or a pattern of tar files")


@dataclass(frozen=True)
class AnnotationStorage(Section):
    """`build_info.annotations.<split>:` — where the rows of a split are."""

    storage: list[str] = setting(
        [], "JSON files, read in this order", lone=True, affects=RESULTS, weights_if=trained_or_chosen_on
    )


@dataclass(frozen=True)
class BuildInfo(Section):
    """`build_info:` — the files of a data set."""

    images: ImageStorage = setting(ImageStorage(), "where the images are")
    annotations: dict[str, AnnotationStorage] = setting({}, "split -> its annotation files")


@dataclass(frozen=True)
class DatasetConfig(Section):
    """`datasets.<name>:` — a registered builder and its files."""

    data_type: str = setting("images", "kind of data", affects=NOTHING, ignored="every data set here is of images")
    vis_processor: StageProcessors = setting(StageProcessors(), "image processors")
    text_processor: StageProcessors = setting(StageProcessors(), "text processors")
    build_info: BuildInfo = setting(BuildInfo(), "the data set's files")
    forget_list: str = setting("", "file of the images to forget, with {seed} for run.df_seed")
    follow_links: bool = setting(False, "permit links in the image root that lead out of it", affects=NOTHING)
    image_cache: str = setting(
        "none",
        "cache of decoded images (deterministic processors)",
        choices=("none", "memory", "disk"),
        affects=NOTHING,
    )
    image_cache_folder: str | None = setting(None, "for disk; null: <run.output_dir>/pixels", affects=NOTHING)
    image_cache_gb: float = setting(20.0, "GiB limit of all caches in that folder", least=0, affects=NOTHING)
    generate: str | None = setting(None, "draw a missing data set in this size; null: never", choices=("mini", "tiny"))
    generate_variant: str = setting(
        "plain",
        "what makes a drawn SALMU-mini harder",
        choices=("plain", "shared_names", "paraphrased", "web"),
    )
    generate_seed: int = setting(42, "seed of a drawn data set", **SEED)
