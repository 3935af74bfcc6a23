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
from lavis.sweeps.pool import JobResult, Pool, Tell, silent
from lavis.sweeps.schema import SweepConfig

logger = logging.getLogger(__name__)
EXIT_FAILED, STOPPED = 1, 128


def list_jobs(jobs: Sequence[Job], rerun: bool = False) -> None:
    """Write the commands that would run, one per line, then in one line how many are finished and which are doubtful.

    rerun: whether finished jobs whose results are out of date would run as well.
    """
    resting = [(job, doubt) for job, doubt in _finished(jobs) if not (rerun and doubt)]
    folders = {job.folder for job, _ in resting}
    sys.stdout.writelines(printable(f"{job.shown}\n") for job in jobs if job.folder not in folders)
    doubtful = [f"{job.name}: {doubt.rpartition(';')[0]}" for job, doubt in resting if doubt]
    more = f"; out of date, --rerun repeats them: {'; '.join(doubtful)}" if doubtful else ""
    if resting:
        sys.stdout.write(printable(f"# finished, not repeated: {len(resting)} of {len(jobs)}{more}\n"))


def _finished(jobs: Sequence[Job]) -> list[tuple[Job, str]]:
    """The finished jobs, each with the reason why its results are out of date, or an empty text."""
    return [(job, job.doubt()) for job in jobs if job.finished]


def show_report(sweep: SweepConfig, report: Report) -> int:
    """Write a sweep's report and say where it is and what it lacks; the exit code: 1 where results are out of date."""
    page = write_report(report, Path(sweep.report_dir))
    sys.stdout.write(f"{printable(page.with_name('results.md').read_text(encoding='utf-8'))}\n")
    sys.stdout.write(f"tables: {', '.join(f'{page.parent}/results.{kind}' for kind in ('md', 'csv', 'json'))}\n")
    sys.stdout.write(f"report: {page}\n")
    return EXIT_FAILED if doubtful(report.rows) else 0


def run_jobs(jobs: Sequence[Job], pool: Pool, tell: Tell = silent) -> tuple[list[JobResult], int]:
    """Run jobs; returns their results and the exit code (0, 1 after a failure, 128 + signal if stopped).

    tell: what the log says about the results of a finished job.
    """
    results = pool.run(jobs, tell)
    counts = {status: sum(r.status == status for r in results) for status in ("done", "skipped", "failed", "stopped")}
    logger.info("%s", ", ".join(f"{count} {status}" for status, count in counts.items() if count) or "nothing to do")
    for result in results:
        if result.status == "failed":
            logger.info("failed: %s (log: %s)", result.job.name, result.job.log)
    if pool.stopped_by is not None:
        return results, STOPPED + pool.stopped_by
    return results, EXIT_FAILED if counts["failed"] else 0
