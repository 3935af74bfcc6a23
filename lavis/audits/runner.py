"""Runs an audit: states the minutes first, runs the parts that are not stored yet, and writes audit.json.

audit.json contains no times, so that the same audit gives the same bytes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from lavis.audits.attack import Readings
from lavis.audits.audit import Audit
from lavis.audits.models import UNLEARNED
from lavis.audits.subject import timed
from lavis.audits.summary import summarised
from lavis.common.files import write_json
from lavis.common.keeping import keep_unlike

log = logging.getLogger(__name__)
FILE, FRESH = "audit.json", "fresh"
LONG = 10  # minutes after which it is said how to have less
SHARED = "audits"  # folder in run.output_dir


def run_audit(audit: Audit, progress: Callable[[str], None] = log.info) -> dict[str, Any]:
    """Run what is not stored yet; returns the content of audit.json, which is written if the audit has a folder.

    Raises DataError if one of the models is broken.
    """
    seconds = audit.within(audit.estimate(timed(audit.subjects[UNLEARNED])))
    count = len(audit.attacks)
    progress(_announced(audit, seconds))
    found: dict[str, dict[str, Readings | str]] = {}
    for place, (name, attack) in enumerate(audit.attacks.items(), start=1):
        began = time.monotonic()
        found[name] = {role: audit.part(name, attack, role) for role in audit.roles(attack)}
        progress(f"{place}/{count} {name}: {time.monotonic() - began:.0f} s (estimate {seconds[name]:.0f} s)")
    result = summarised(audit, found)
    if audit.folder is not None:
        keep_unlike(audit.folder / FILE, result)
        write_json(audit.folder / FILE, result)
    return result


def _announced(audit: Audit, seconds: Mapping[str, float]) -> str:
    """What will run, for how long, and how to have it shorter; or what was left out."""
    budget, models, minutes = audit.run.audit.budget, ", ".join(audit.models), sum(seconds.values()) / 60
    said = f"audit, budget {budget}: {len(seconds)} attacks on {models}, about {minutes:.1f} minutes"
    if audit.left_out:
        return f"{said}; left out, as they do not fit into run.audit.minutes: {', '.join(audit.left_out)}"
    if minutes <= LONG:
        return said
    longest = max(seconds, key=lambda name: seconds[name])
    less = "run.audit.minutes=N (multidelete audit --minutes N) leaves out what takes longest"
    return f"{said}, most of them {longest}; {less}"
