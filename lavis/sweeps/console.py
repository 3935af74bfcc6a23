"""What the sweep's command lines share: how a set of jobs is shown, run and summed up."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from lavis.sweeps.jobs import Job
from lavis.sweeps.lanes import Lane
from lavis.sweeps.pool import JobResult, Pool

logger = logging.getLogger(__name__)
EXIT_FAILED, STOPPED = 1, 128


def list_jobs(jobs: Sequence[Job]) -> None:
    """Write the commands, one a line, with those that are finished marked."""
    for job in jobs:
        mark = "# finished: " if job.finished else ""
        sys.stdout.write(f"{mark}{job.shown}\n")


def run_jobs(jobs: Sequence[Job], lanes: Sequence[Lane] | Pool) -> tuple[list[JobResult], int]:
    """Run jobs; returns the outcomes and the exit code (0, 1 after a failure, 128 + signal if stopped)."""
    pool = lanes if isinstance(lanes, Pool) else Pool(lanes)
    outcomes = pool.run(jobs)
    counts = {status: sum(o.status == status for o in outcomes) for status in ("done", "skipped", "failed", "stopped")}
    logger.info("%s", ", ".join(f"{count} {status}" for status, count in counts.items() if count) or "nothing to do")
    for outcome in outcomes:
        if outcome.status == "failed":
            logger.info("failed: %s (log: %s)", outcome.job.name, outcome.job.log)
    if pool.stopped_by is not None:
        return outcomes, STOPPED + pool.stopped_by
    return outcomes, EXIT_FAILED if counts["failed"] else 0
