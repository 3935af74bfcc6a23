"""run.metrics=[salmubench, int8]: the ten metrics of a model under flat names, and those that stand beside them.

A metric whose split or side file is missing is left out with a warning (not measured); one whose embeddings are
collapsed or not finite is NaN, null in results.json. The other metrics are measured all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from lavis.common.errors import ConfigError, DataError, suggest
from lavis.datasets.builder import PairBuilder
from lavis.embedding.embed import Embedder
from lavis.salmubench import beside, measures
from lavis.salmubench.imagenet import imagenet
from lavis.salmubench.layout import PREFIX
from lavis.salmubench.material import NotMeasured, Source
from lavis.salmubench.probes import ACS_FEATURES, IDZSC_PROMPTS

log = logging.getLogger(__name__)

DECIMALS = 6
CHOICES = {
    "acs_features": ACS_FEATURES,
    "idzsc_prompt": tuple(IDZSC_PROMPTS),
    "retfail_own_caption": ("drop", "keep"),
}
Measure = tuple[tuple[str, ...], Callable[[], measures.Numbers]]


def check_choices(run: Any) -> None:
    """Refuse values of run.salmubench that do not exist. Raises ConfigError."""
    for key, valid in CHOICES.items():
        value = getattr(run.salmubench, key)
        if value not in valid:
            raise ConfigError(f"run.salmubench.{key} is '{value}'; {suggest(value, valid)}")
    if run.salmubench.distractors < 1:
        raise ConfigError(f"run.salmubench.distractors must be at least 1, found {run.salmubench.distractors}")


def salmubench_metrics(
    model: Embedder, builder: PairBuilder, run: Any, device: torch.device | str = "cpu", source: Source | None = None
) -> dict[str, float]:
    """All metrics of a model by flat names ("salmubench_retfail_mrr"), fractions rounded to 6 decimals.

    "_low" and "_high" bound bootstrap 95 % intervals clustered by identity; "_whole" and "_partial" are over the
    pairs of Df whose identity has all or only some of its sensitive pictures there; "retfail_mrr_others" leaves the
    own identity's other captions out; "gen_know" is the mean over the kinds of classes in zero_shot_classes.json.
    Draws come from run.salmubench.seed whatever run.seed is: models are compared on the same ones. run.eval_max_pairs
    cuts every split. `source` may hold what has been embedded already. All processes must call it together. Raises
    DataError for data that is not in SALMU's layout.
    """
    source = source or Source(model, builder, run, device)
    source.bank.embed(source.pictures())
    return _measured(_suite(source))


def int8_metrics(source: Source) -> dict[str, float]:
    """INT8's metrics ("salmubench_int8_retfail_mrr") of the source's model after int8 dynamic quantisation."""
    try:
        made = beside.int8_source(source)
    except NotMeasured as reason:
        log.warning("int8: not measured: %s", reason)
        return {}
    found = _measured([((f"int8_{name}",), partial(beside.int8, made, name)) for name in beside.INT8])
    made.bank.save()
    return found


def _suite(source: Source) -> Sequence[Measure]:
    """What is measured: the names that stand for each measure where it has no value, and the measure."""
    held = [split for split in beside.PEOPLE if beside.suffix(split)]
    pools = [(tuple(f"{n}{beside.suffix(s)}" for n in ("x_mrr", "pool_mrr")), s) for s in beside.PEOPLE]
    return [
        (("retfail_r1", "retfail_mrr"), partial(measures.retfail, source)),
        (("assoc_str",), partial(measures.association, source)),
        (("acs",), lambda: {"acs": measures.acs_of(source, "forget")}),
        (("idzsc",), partial(measures.names, source)),
        (("core_assoc",), partial(measures.core, source)),
        (("value_auc",), partial(measures.values, source)),
        (("gen_know",), partial(measures.classes, source)),
        (("imagenet",), partial(imagenet, source)),
        *(((name,), partial(measures.mean, source, name)) for name in measures.MEANS),
        *((found, partial(beside.pool_mrr, source, split)) for found, split in pools),
        *(((f"acs_{split}",), partial(beside.held_acs, source, split)) for split in held),
        (("linear_probe", "linear_probe_chance"), partial(beside.probe, source)),
    ]


def _measured(suite: Sequence[Measure]) -> dict[str, float]:
    found: measures.Numbers = {}
    for names, measure in suite:
        found |= _guarded(names, measure)
    return {PREFIX + name: round(value, DECIMALS) for name, value in found.items()}


def _guarded(names: tuple[str, ...], measure: Callable[[], measures.Numbers]) -> measures.Numbers:
    """What `measure` gives; NaN by these names where the embeddings do not allow it."""
    try:
        return measure()
    except NotMeasured as reason:
        log.warning("%s: not measured: %s", ", ".join(names), reason)
        return {}
    except DataError as error:
        log.warning("%s: no value: %s", ", ".join(names), error)
        return dict.fromkeys(names, float("nan"))
