"""What the sweep's command lines share: listing jobs, running them and logging a summary."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from lavis.sweeps.jobs import Job
from lavis.sweeps.pool import JobResult, Pool

logger = logging.getLogger(__name__)
EXIT_FAILED, STOPPED = 1, 128


def list_jobs(jobs: Sequence[Job]) -> None:
    """Write the commands, one per line, marking those that are finished."""
    for job in jobs:
        mark = "# finished: " if job.finished else ""
        sys.stdout.write(f"{mark}{job.shown}\n")


def run_jobs(jobs: Sequence[Job], pool: Pool) -> tuple[list[JobResult], int]:
    """Run jobs; returns their results and the exit code (0, 1 after a failure, 128 + signal if stopped)."""
    results = pool.run(jobs)
    counts = {status: sum(r.status == status for r in results) for status in ("done", "skipped", "failed", "stopped")}
    logger.info("%s", ", ".join(f"{count} {status}" for status, count in counts.items() if count) or "nothing to do")
    for result in results:
        if result.status == "failed":
            logger.info("failed: %s (log: %s)", result.job.name, result.job.log)
    if pool.stopped_by is not None:
        return results, STOPPED + pool.stopped_by
    return results, EXIT_FAILED if counts["failed"] else 0
