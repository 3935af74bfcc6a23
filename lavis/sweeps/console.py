"""What the sweep's command lines share: listing jobs, running them and logging a summary."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from lavis.common.printable import printable
from lavis.report.numbers import doubtful
from lavis.report.page import Report, write_report
from lavis.sweeps.jobs import Job
from lavis.sweeps.pool import JobResult, Pool
from lavis.sweeps.schema import SweepConfig

logger = logging.getLogger(__name__)
EXIT_FAILED, STOPPED = 1, 128


def list_jobs(jobs: Sequence[Job]) -> None:
    """Write the commands, one per line, marking those that are finished and why their results may be out of date."""
    for job in jobs:
        doubt = job.doubt() if job.finished else ""
        mark = f"# finished, but {doubt}: " if doubt else "# finished: " if job.finished else ""
        sys.stdout.write(printable(f"{mark}{job.shown}\n"))


def show_report(sweep: SweepConfig, report: Report) -> int:
    """Write a sweep's report and say where it is and what it lacks; the exit code: 1 where results are out of date."""
    page = write_report(report, Path(sweep.report_dir))
    sys.stdout.write(f"{printable(page.with_name('results.md').read_text(encoding='utf-8'))}\n")
    sys.stdout.write(f"tables: {', '.join(f'{page.parent}/results.{kind}' for kind in ('md', 'csv', 'json'))}\n")
    sys.stdout.write(f"report: {page}\n")
    return EXIT_FAILED if doubtful(report.rows) else 0


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
