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
    """Embed both sets' images, list near twins in <output_dir>/near_twins.json, and return the sentence about them."""
    assert run.near_twins is not None
    parts, rows = builder.partition(), list[torch.Tensor]()
    for name, entries in (("df", parts.df), ("dr", parts.dr)):
        dataset, size = builder.dataset(merged(entries), "eval"), run.batch_size_eval
        images = embed_images(model, dataset, size, device, num_workers=run.num_workers, name=f"twins {name}")
        rows.append(images.float().cpu())
    df_rows, dr_rows = rows
    path = Path(run.output_dir) / "near_twins.json"
    return report_near(parts.df, parts.dr, df_rows, dr_rows, run.near_twins, path)
