"""Retained images that look like images to forget to the original model (lavis/datasets/twins.py)."""

from __future__ import annotations

from pathlib import Path

import torch

from lavis.datasets.builder import PairBuilder
from lavis.datasets.partition import merged
from lavis.datasets.twins import report_near
from lavis.embedding.embed import embed_images
from lavis.models.base import BaseModel
from lavis.settings.schema import RunConfig


def look_alikes(model: BaseModel, builder: PairBuilder, run: RunConfig, device: torch.device) -> list[str]:
    """Embed both sets' images, list near twins in <output_dir>/near_twins.json, and return the sentence about them.

    Nothing is done without run.near_twins.
    """
    if run.near_twins is None:
        return []
    parts = builder.partition()
    images, rows = dict[str, list[str]](), dict[str, torch.Tensor]()
    for name, entries in (("df", merged(parts.df)), ("dr", merged(parts.dr))):
        dataset, size = builder.dataset(entries, "eval"), run.batch_size_eval
        embedded = embed_images(model, dataset, size, device, num_workers=run.num_workers, name=f"twins {name}")
        images[name], rows[name] = [entry.image for entry in entries], embedded.float().cpu()
    path = Path(run.output_dir) / "near_twins.json"
    return report_near(images["df"], images["dr"], rows["df"], rows["dr"], run.near_twins, path)
