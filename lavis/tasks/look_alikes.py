"""Near twins: retained images that look like images to forget to the original model (re-encoded or resized copies)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from lavis.common.files import dispensable, write_json
from lavis.datasets.builder import PairBuilder
from lavis.datasets.partition import merged
from lavis.embedding.embed import embed_images
from lavis.models.base import BaseModel
from lavis.settings.schema import RunConfig

log = logging.getLogger(__name__)
ROWS_AT_ONCE = 4096


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


def near_twins(df: torch.Tensor, dr: torch.Tensor, least: float) -> list[tuple[int, int, float]]:
    """(row of Df, row of Dr, cosine) for each row of Dr whose closest row of Df (n, D) has at least this cosine.

    The rows are unit vectors; Dr is compared in blocks, so that memory stays bounded.
    """
    found = []
    for start in range(0, len(dr), ROWS_AT_ONCE):
        cosines, closest = (dr[start : start + ROWS_AT_ONCE] @ df.T).max(dim=1)
        for row in (cosines >= least).nonzero().flatten().tolist():
            found.append((int(closest[row]), start + row, float(cosines[row])))
    return sorted(found, key=lambda twin: -twin[2])


def report_near(
    df: Sequence[str], dr: Sequence[str], df_rows: torch.Tensor, dr_rows: torch.Tensor, least: float, path: Path
) -> list[str]:
    """List near twins in the file `path` and log how many there are. Returns that sentence; nothing if there are none.

    df, dr: the distinct images of both sets. df_rows, dr_rows: their unit embeddings (n, D). Nothing is moved: whether
    two images show the same is for the user to say, who can add them to what is to be forgotten.
    """
    twins = [(df[i], dr[j], cosine) for i, j, cosine in near_twins(df_rows, dr_rows, least)]
    if not twins:
        return []
    content = [{"forgotten": one, "retained": other, "cosine": round(cosine, 4)} for one, other, cosine in twins]
    with dispensable(path):
        write_json(path, content)
    text = (
        f"{len(twins)} retained images look like images to forget to the original model (cosine {least:g} to "
        f"{twins[0][2]:.3f}); they are listed in {path}. They stay in the retain set: look at them, "
        "and forget those that show the same as well"
    )
    log.warning("%s", text)
    return [text]
