"""Zero-shot accuracy on the user's own classes: a folder with one folder of images per class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from lavis.common.errors import DataError, missing_file
from lavis.common.registry import registry
from lavis.datasets.annotations import Entry
from lavis.datasets.pairs import PairDataset
from lavis.embedding.embed import embed_captions, embed_images
from lavis.evaluation.context import Context
from lavis.evaluation.metric import HEADLINE, RETRIEVAL, UP, Column, Metric, NotMeasured
from lavis.evaluation.zero_shot import class_features, top1
from lavis.images.tars import ENDINGS
from lavis.settings.schema import RunConfig

NAME = "zero_shot"


@registry.register_metric(NAME)
class ClassFolders(Metric):
    """Top-1 accuracy on the images of run.zero_shot among its classes, in [0, 1].

    A class is named like its folder, with spaces for underscores, and described by open_clip's 80 templates, as in CLIP
    (arXiv 2103.00020, section 3.1.4).
    """

    columns = (
        Column(
            NAME,
            "zero-shot accuracy",
            "zero-shot top-1 accuracy on the folders of run.zero_shot",
            direction=UP,
            groups=(RETRIEVAL,),
            order=200,
            uses=(HEADLINE,),
        ),
    )
    order = 60

    def __call__(self, context: Context) -> dict[str, float]:
        entries, names = context.shared(folder_entries)
        root, run = Path(str(context.run.zero_shot)), context.run
        images = PairDataset(entries, root, *context.builder.processors("eval"))
        size, workers = run.batch_size_eval, run.num_workers
        rows = embed_images(context.model, images, size, context.device, num_workers=workers, name=NAME)
        labels = [int(str(entry.extra["label"])) for entry in images.entries]
        return {NAME: top1(rows, _classes(context, names), labels, NAME)}

    def images(self, context: Context) -> Sequence[Sequence[Entry]]:
        context.shared(folder_entries)  # a wrong folder is reported before any work
        return ()


def folder_entries(context: Context) -> tuple[list[Entry], list[str]]:
    """The images of run.zero_shot, and the names of its classes. Raises NotMeasured, MissingFile, DataError."""
    return read_classes(context.run)


def read_classes(run: RunConfig) -> tuple[list[Entry], list[str]]:
    """As `folder_entries`, of a configuration alone."""
    if not run.zero_shot:
        raise NotMeasured("run.zero_shot names no folder of classes")
    root = Path(run.zero_shot)
    if not root.is_dir():
        raise missing_file("folder of classes", root, "set run.zero_shot to a folder with one folder per class")
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    names = [folder.name.replace("_", " ") for folder in folders]
    entries = [
        Entry(file.relative_to(root).as_posix(), (names[label],), extra={"label": label})
        for label, folder in enumerate(folders)
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in ENDINGS
    ]
    empty = sorted(set(range(len(folders))) - {int(str(entry.extra["label"])) for entry in entries})
    if len(folders) < 2 or empty:
        lacking = f"folder {folders[empty[0]].name} has no image" if empty else f"there are {len(folders)} folders"
        raise DataError(f"run.zero_shot: {root} needs at least two folders, each with images of a class; {lacking}")
    return entries, names


def _classes(context: Context, names: Sequence[str]) -> torch.Tensor:
    """Class rows (k, D): the mean of each class's unit prompt rows."""
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    prompts = [form(name) for name in names for form in OPENAI_IMAGENET_TEMPLATES]
    owners = [number for number in range(len(names)) for _ in OPENAI_IMAGENET_TEMPLATES]
    rows = embed_captions(context.model, prompts, context.run.batch_size_eval, context.device, name=NAME)
    return torch.from_numpy(class_features(rows, owners)).float()
