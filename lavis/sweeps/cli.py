"""The command line of bash/run.py: run a sweep, then write its report."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from lavis.common.arguments import JOBS
from lavis.common.cli import Parser
from lavis.common.errors import CheckpointError, ConfigError, MissingFile
from lavis.common.logger import setup_logging
from lavis.sweeps.console import STOPPED, list_jobs, run_jobs, show_report
from lavis.sweeps.evaluations import reference_result
from lavis.sweeps.jobs import Job
from lavis.sweeps.lanes import make_lanes
from lavis.sweeps.plan import Setting, compose, expand, reference_seeds, seed_options, settings
from lavis.sweeps.pool import JobResult, Pool
from lavis.sweeps.references import missing_originals, prepare_data, published, reference_jobs
from lavis.sweeps.schema import LAUNCHERS, SweepConfig, load_sweep
from lavis.sweeps.slurm import slurm_lanes, slurm_options, slurm_starter
from lavis.sweeps.telling import verdicts_of

logger = logging.getLogger(__name__)
DEFAULT = "configs/sweep/salmu_mini.yaml"
SUBMITTED = 100


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line of bash/run.py."""
    parser = Parser(prog="bash/run.py", description="Run a sweep of unlearning jobs and report on it.")
    parser.add_argument("sweep", nargs="?", default=DEFAULT, help=f"sweep file (default: {DEFAULT})")
    parser.add_argument("--jobs", type=JOBS, help="jobs at a time (default: one per GPU, or two on the CPU)")
    parser.add_argument("--dry-run", action="store_true", help="show the commands only")
    parser.add_argument("--with-originals", action="store_true", help="train missing reference models first")
    parser.add_argument("--report-only", action="store_true", help="run nothing, report on the finished jobs")
    parser.add_argument("--rerun", action="store_true", help="rerun finished jobs whose settings have changed since")
    parser.add_argument("--search", action="store_true", help="choose settings from the file's grid")
    parser.add_argument("--launcher", choices=LAUNCHERS, help="where jobs run (default: the sweep file's, else local)")
    parser.add_argument("--slurm", nargs="+", default=[], metavar="KEY=VALUE", help="for submitit; implies slurm")
    parser.add_argument("--show-people", action="store_true", help="gallery: also portraits that are not drawn")
    parser.add_argument("--public", action="store_true", help="a report to hand on: numbers, no people, no paths")
    parser.add_argument("--options", nargs="+", default=[], metavar="KEY=VALUE", help="passed on to every job")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0, 1 after a failed job, 2 after a user's error, 128 + signal if stopped.

    Also 1 where the report has rows that are out of date.
    """
    setup_logging()
    args = parse(argv)
    sweep = with_flags(load_sweep(args.sweep), args)
    if args.search:
        from lavis.sweeps.search import search

        how = {"dry_run": args.dry_run, "report_only": args.report_only, "rerun": args.rerun}
        return search(sweep, lambda: make_pool(sweep, args), **how)
    places, unlearning = settings(sweep), [cell.job for cell in expand(sweep)]
    training = training_jobs(sweep, places) if args.with_originals else []
    if args.dry_run:
        if not args.with_originals:
            check_originals(sweep, places)
        list_jobs([*training, *pending_evaluations(sweep, places), *unlearning], args.rerun)
        return 0
    if args.report_only:
        return _report(sweep, [], 0, [])
    results, code, problems = list[JobResult](), 0, list[str]()
    if args.with_originals:
        for path in dict.fromkeys(place.cfg_path for place in places):
            prepare_data(compose(path, tuple(sweep.options)))
        results, code = run_jobs(training, make_pool(sweep, args))
    if code < STOPPED:
        check_originals(sweep, places)
        evaluations = evaluation_jobs(sweep, places, problems)
        more, later = run_jobs([*evaluations, *unlearning], make_pool(sweep, args), verdicts_of(sweep))
        results, code = [*results, *more], max(code, later)
    return _report(sweep, results, code, problems)


def with_flags(sweep: SweepConfig, args: argparse.Namespace) -> SweepConfig:
    """The sweep with the command line's additions and changes."""
    launcher = args.launcher or ("slurm" if args.slurm else sweep.launcher)
    slurm = {**sweep.slurm, **slurm_options(args.slurm)}
    shown = sweep.show_people or args.show_people
    options = [*sweep.options, *args.options]
    sweep = dataclasses.replace(sweep, options=options, launcher=launcher, slurm=slurm, show_people=shown)
    return sweep.made_public() if args.public else sweep


def make_pool(sweep: SweepConfig, args: argparse.Namespace) -> Pool:
    """Where the jobs run: lanes of this machine, or a cluster's queue (100 jobs at a time without --jobs)."""
    config = compose(settings(sweep)[0].cfg_path, tuple(sweep.options))
    lanes = make_lanes(args.jobs, config.run.device)
    if sweep.launcher == "local":
        return Pool(lanes, rerun=args.rerun)
    start = slurm_starter(Path(config.run.output_dir) / "logs" / "submitit", sweep.slurm)
    return Pool(slurm_lanes(args.jobs or SUBMITTED), rerun=args.rerun, start=start)


def training_jobs(sweep: SweepConfig, places: Sequence[Setting]) -> list[Job]:
    """train.py jobs of the references: `retrained` for every forget-set size, the others once. Raises ConfigError."""
    jobs: dict[str, Job] = {}
    for place in places:
        if not published(compose(place.cfg_path, tuple(sweep.options))):
            for seed in reference_seeds(sweep):
                options = seed_options(sweep, place.cfg_path, seed)
                for job in reference_jobs(place.cfg_path, sweep.options, sweep.references, place.df_size, options):
                    jobs.setdefault(job.folder.as_posix(), job)
        elif sweep.reference_seeds == "each":
            raise ConfigError(
                f"{sweep.source}: 'reference_seeds' is each, but {place.cfg_path} starts from a published checkpoint, "
                "and there is only one; set reference_seeds: configured"
            )
    return list(jobs.values())


def evaluation_jobs(sweep: SweepConfig, places: Sequence[Setting], problems: list[str]) -> list[Job]:
    """evaluate.py jobs of references that lack results for a forget-set size; their weights are linked.

    A reference whose weights are not available is added to `problems`, and the sweep continues without it.
    """
    jobs = []
    for place in places:
        model_type = compose(place.cfg_path, tuple(sweep.options)).model.model_type
        for name, seed in itertools.product(sweep.references, reference_seeds(sweep)):
            result = reference_result(sweep, place, name, seed)
            if result.job is None:
                continue
            try:
                result.prepare(model_type)
                jobs.append(result.job)
            except (MissingFile, CheckpointError, ConfigError) as error:
                problems.append(f"{name} could not be evaluated: {error}")
    return jobs


def pending_evaluations(sweep: SweepConfig, places: Sequence[Setting]) -> list[Job]:
    """Those jobs of `evaluation_jobs` that have to run as things are now; nothing is linked or set aside."""
    every = itertools.product(places, sweep.references, reference_seeds(sweep))
    found = [reference_result(sweep, place, name, seed) for place, name, seed in every]
    return [result.job for result in found if result.job is not None and result.pending]


def check_originals(sweep: SweepConfig, places: Sequence[Setting]) -> None:
    """Raises MissingFile if there is no model to unlearn from, with the command that trains it."""
    missing = missing_originals(sweep, places)
    if missing:
        raise MissingFile(
            f"there is no original model yet for {', '.join(missing)}; train it with\n    bash bash/ori.sh "
            f"{' '.join(missing)}\nor let bash/run.py do it: --with-originals"
        )


def _report(sweep: SweepConfig, results: Sequence[JobResult], code: int, problems: Sequence[str]) -> int:
    """Write the report; after an interruption only log how to continue."""
    if code >= STOPPED:
        logger.info("stopped; the same command continues from here")
        return code
    failures = [
        f"{result.job.name} failed with exit code {result.code}: {' '.join(result.tail[-1:]) or 'no output'}"
        for result in results
        if result.status == "failed"
    ]
    from lavis.sweeps.collect import collect

    return max(code, show_report(sweep, collect(sweep, [*failures, *problems], ["python", *sys.argv])))
