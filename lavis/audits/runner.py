"""Runs an audit: states the minutes first, runs the parts that are not stored yet, and writes audit.json.

audit.json contains no times, so that the same audit gives the same bytes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from lavis.audits.attack import Readings
from lavis.audits.audit import Audit
from lavis.audits.models import UNLEARNED
from lavis.audits.subject import timed
from lavis.audits.summary import summarised
from lavis.common.files import write_json

log = logging.getLogger(__name__)
FILE, FRESH = "audit.json", "fresh"
SHARED = "audits"  # folder in run.output_dir


def run_audit(audit: Audit, progress: Callable[[str], None] = log.info) -> dict[str, Any]:
    """Run what is not stored yet; returns the content of audit.json, which is written if the audit has a folder.

    Raises DataError if one of the models is broken.
    """
    seconds = audit.estimate(timed(audit.subjects[UNLEARNED]))
    count, minutes = len(audit.attacks), sum(seconds.values()) / 60
    budget, models = audit.run.audit.budget, ", ".join(audit.models)
    progress(f"audit, budget {budget}: {count} attacks on {models}, about {minutes:.1f} minutes")
    found: dict[str, dict[str, Readings | str]] = {}
    for place, (name, attack) in enumerate(audit.attacks.items(), start=1):
        began = time.monotonic()
        found[name] = {role: audit.part(name, attack, role) for role in audit.roles(attack)}
        progress(f"{place}/{count} {name}: {time.monotonic() - began:.0f} s (estimate {seconds[name]:.0f} s)")
    result = summarised(audit, found)
    if audit.folder is not None:
        write_json(audit.folder / FILE, result)
    return result
