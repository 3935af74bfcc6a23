"""Prepares data sets and trains reference models of configurations: `python -m lavis.sweeps.original [CONFIG …]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lavis.common.cli import Parser, run_main
from lavis.common.logger import setup_logging
from lavis.settings.schema import REFERENCES
from lavis.sweeps.console import list_jobs, run_jobs
from lavis.sweeps.jobs import Job
from lavis.sweeps.lanes import make_lanes
from lavis.sweeps.plan import compose
from lavis.sweeps.pool import Pool
from lavis.sweeps.references import prepare_data, published, reference_jobs, unlearn_hint

DEFAULT = "configs/clip/retrieval_salmu_mini.yaml"


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line of bash/ori.sh."""
    parser = Parser(prog="bash/ori.sh", description="Prepare the data and train the reference models.")
    parser.add_argument("configs", nargs="*", default=[DEFAULT], metavar="CONFIG", help=f"default: {DEFAULT}")
    parser.add_argument("--references", nargs="+", default=list(REFERENCES), choices=REFERENCES)
    parser.add_argument("--jobs", type=int, help="trainings at a time (default: one per GPU, or two on the CPU)")
    parser.add_argument("--dry-run", action="store_true", help="show the commands only; nothing is prepared or run")
    parser.add_argument("--options", nargs="+", default=[], metavar="KEY=VALUE", help="passed on to train.py")
    return parser.parse_args(argv)


def plan(configs: Sequence[str], options: Sequence[str], references: Sequence[str], prepare: bool) -> list[Job]:
    """The training jobs of all configurations, after preparing their data sets if `prepare`.

    A configuration that starts from a published checkpoint has no jobs; the command that uses it is shown.
    """
    jobs: list[Job] = []
    for path in configs:
        config = compose(path, tuple(options))
        if prepare:
            prepare_data(config)
        if published(config):
            sys.stdout.write(unlearn_hint(config) + "\n")
        else:
            jobs += reference_jobs(path, options, references)
    return jobs


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0, 1 if a training failed, 2 after a user's error, 128 + signal if stopped."""
    setup_logging()
    args = parse(argv)
    device = compose(args.configs[0], tuple(args.options)).run.device
    pool = Pool(make_lanes(args.jobs, device))
    jobs = plan(args.configs, args.options, args.references, prepare=not args.dry_run)
    if args.dry_run:
        list_jobs(jobs)
        return 0
    return run_jobs(jobs, pool)[1]


if __name__ == "__main__":
    run_main(main)
