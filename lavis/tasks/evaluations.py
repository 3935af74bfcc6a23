"""Every evaluation is a file of its own; what a training run found out is never overwritten.

`<run folder>/evaluations/<task>-<key>/results.json` is an evaluation of the run's model on other data than its own; the
key is a hash of every split's images and captions. An evaluation on the run's own data is a file next to them, merged
into the run's results.json: new metrics are added, those measured again are renewed, nothing else is lost.

A folder's former results of other data, weights or settings are renamed to results.<key>.json before new ones are made.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lavis.common.errors import DataError, first_few
from lavis.common.files import file_digest, key_of
from lavis.common.keeping import set_aside
from lavis.common.results import EVALUATIONS, FILE_NAME, read_results, write_results
from lavis.datasets.annotations import Entry
from lavis.datasets.builder import PairBuilder
from lavis.datasets.digests import split_digests
from lavis.datasets.mapped import ImageNames
from lavis.evaluation.measure import files_of_metrics
from lavis.images.fingerprint import content_digest, file_digests, sampled
from lavis.report.same_data import differing
from lavis.settings.changes import config_changes

log = logging.getLogger(__name__)
KEY_BYTES = 8


def evaluated_data(builder: PairBuilder, splits: Mapping[str, Sequence[Entry]]) -> dict[str, Any]:
    """What an evaluation of these splits is measured on, in digests.

    {"dataset": name, "splits": {split: digest of its rows}, "images": {split: digest of the images' content},
    "forget_list": digest or null, "files": {path: digest}}.
    """
    images = {name: sampled(builder.store, ImageNames(part)) for name, part in splits.items()}
    listed = content_digest(builder.forget_images()) if builder.forgets else None
    facts = {"dataset": builder.name, "splits": split_digests(splits), "images": images, "forget_list": listed}
    return {**facts, "files": file_digests(builder.data_files)}


def _key(data: Mapping[str, Any]) -> str:
    """A short name for the evaluated rows and images."""
    return key_of([sorted(data.get(part, {}).items()) for part in ("splits", "images")], KEY_BYTES)


def evaluation_folder(run_folder: Path, task: str, data: Mapping[str, Any]) -> Path:
    """Where an evaluation of a run's model on these data goes: the run folder for its own data, else a folder in it.

    data: {"dataset": name, "splits": {split: digest}}.
    """
    former = _existing(run_folder / FILE_NAME)
    own = former is not None and former["task"] == task and _agree(former.get("data") or data, data)
    return run_folder if own else run_folder / EVALUATIONS / f"{task}-{_key(data)}"


def _agree(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the splits that both have are equal. Older results say nothing of their data and agree with any."""
    return not differing(one, other)


def record_evaluation(folder: Path, content: Mapping[str, Any]) -> None:
    """Write an evaluation's results.json; in a training run's folder, a file of its own too, and merge it.

    content: as results.json, with `data` and `weights`, the checkpoint's digest.
    """
    own = folder / FILE_NAME
    former = _existing(own)
    if former is not None and "train" in former["seconds"]:
        write_results(folder / EVALUATIONS / f"{content['task']}-{_key(content['data'])}.json", content)
        content = merged(former, content)
    write_results(own, content)


def make_room(folder: Path, config: dict[str, Any], facts: Mapping[str, Any], merging: bool) -> list[str]:
    """Clear a folder of what an earlier evaluation left, and keep its results if they are not those of this one.

    config, facts (data, weights): of the evaluation to come. merging: a training run's results stay, as new ones are
    merged into them. Returns a sentence about what is kept under which name, if anything is.
    """
    path, files = folder / FILE_NAME, files_of_metrics(folder)
    former = _existing(path)
    unlike = [] if former is None or (merging and "train" in former["seconds"]) else _unlike(former, config, facts)
    key = file_digest(path)[: 2 * KEY_BYTES] if unlike else ""
    for file in [file for file in files if os.path.lexists(file)]:
        set_aside(file, key) if unlike else file.unlink()
    if not unlike:
        return []
    name = set_aside(path, key).name
    said = f"{folder} has results of another evaluation ({first_few(unlike)}); they are kept as {name}"
    log.warning("%s", said)
    return [said]


def _unlike(former: Mapping[str, Any], config: dict[str, Any], facts: Mapping[str, Any]) -> list[str]:
    """In what an evaluation differs from the former one, whose numbers it would replace."""
    if not former["metrics"]:
        return []
    data = [f"{part} differ" for part in differing(former.get("data") or {}, facts["data"])]
    weights = ["the weights differ"] if former.get("weights", facts["weights"]) != facts["weights"] else []
    return data + weights + config_changes(former["config"], config)


def merged(former: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """The former results with the metrics, counts and seconds that an evaluation adds or renews.

    Metrics of other weights, or of a model that has turned out to be broken, do not stay.
    """
    stale = content.get("problem") or former.get("weights", content["weights"]) != content["weights"]
    kept = {"metrics": {} if stale else former["metrics"], "counts": former["counts"], "seconds": former["seconds"]}
    renewed = {key: {**kept[key], **content[key]} for key in kept}
    data = {**content["data"]}
    for key in data.keys() & {"splits", "images", "files"}:
        data[key] = {**former.get("data", {}).get(key, {}), **data[key]}
    return {**former, **renewed, "data": data, "weights": content["weights"], "problem": content.get("problem", "")}


def _existing(path: Path) -> dict[str, Any] | None:
    """The results in a file; None if there are none, or none that can be read."""
    try:
        return read_results(path) if path.is_file() else None
    except DataError:
        return None
