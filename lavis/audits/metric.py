"""The metric `audit`: the attacks of run.audit on the unlearned model, in sweeps and evaluations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lavis.audits.audit import Audit
from lavis.audits.material import Material
from lavis.audits.models import UNLEARNED, reference_checkpoints, with_weights
from lavis.audits.runner import FRESH, SHARED, run_audit
from lavis.common import distributed
from lavis.common.errors import ConfigError
from lavis.common.registry import registry
from lavis.datasets.annotations import Entry
from lavis.evaluation.context import Context
from lavis.evaluation.metric import DOWN, RESIDUE, UP, Column, Metric, NotMeasured, need_two_towers
from lavis.settings.schema import RunConfig

NAME = "audit"


@registry.register_metric(NAME)
class AuditMetric(Metric):
    """The strongest attack's share and the smallest p; every attack's share as `audit_share_<attack>`."""

    columns = (
        Column("audit_share", "attack share", "what the strongest attack brings back, 1 is all the original knew",
               groups=(RESIDUE,), order=90, direction=DOWN, aim=0.0, optional=True),
        Column("audit_p", "attack p", "smallest p of all attacks after Holm: small shows that something is left",
               groups=(RESIDUE,), order=91, direction=UP, optional=True),
    )  # fmt: skip
    order = 200

    def check(self, run: RunConfig, features: type) -> None:
        need_two_towers(NAME, features)
        if distributed.world_size() > 1:
            raise ConfigError(f"run.metrics={NAME} runs in one process; evaluate without torch.distributed.run")

    def images(self, context: Context) -> Iterable[Sequence[Entry]]:
        return ()

    def __call__(self, context: Context) -> dict[str, float]:
        if not context.builder.forgets:
            raise NotMeasured("nothing is to be forgotten here")
        folder = None if context.folder is None else context.folder / NAME
        run, builder = context.run, context.builder
        job = next((job for job, task in builder.job_names.items() if task == run.task), "")
        models = {UNLEARNED: context.model.eval()}
        for role, path in reference_checkpoints(run, context.model.family, job).items():
            models[role] = with_weights(context.model, path)
        material = Material(builder, folder / FRESH if folder else None, run.audit.control, run.audit.seed)
        shared = Path(run.output_dir) / SHARED
        return values_of(run_audit(Audit(models, material, run, context.device, folder, shared)))


def values_of(content: dict[str, Any]) -> dict[str, float]:
    """The numbers of audit.json for results.json."""
    attacks = content["attacks"]
    shares = {f"audit_share_{name}": one["share"] for name, one in attacks.items() if not math.isnan(one["share"])}
    known = [one["p_holm"] for one in attacks.values() if not math.isnan(one["p_holm"])]
    best = attacks.get(content["strongest"])
    whole = {} if best is None else {"audit_share": best["share"], "audit_share_low": best["low"]}
    whole |= {} if best is None else {"audit_share_high": best["high"]}
    return {**whole, **({"audit_p": min(known)} if known else {}), **shares}
