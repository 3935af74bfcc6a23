"""Rewrites the report of a sweep from the files on disk: `python -m lavis.sweeps.report --sweep FILE`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

from lavis.common.arguments import COUNT_OR_NONE
from lavis.common.cli import Parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0, 1 if finished results are out of date, 2 after a user's error."""
    from lavis.common.logger import setup_logging
    from lavis.sweeps.collect import collect
    from lavis.sweeps.console import show_report
    from lavis.sweeps.schema import load_sweep

    parser = Parser(prog="python -m lavis.sweeps.report", description="Rewrite a sweep's report.")
    parser.add_argument("--sweep", default="configs/sweep/salmu_mini.yaml", help="sweep file (default: %(default)s)")
    parser.add_argument("--out", help="folder to write to (default: the sweep's report_dir)")
    parser.add_argument("--gallery", type=COUNT_OR_NONE, help="portraits to show (default: the sweep's); 0 for none")
    parser.add_argument("--show-people", action="store_true", default=None, help="also portraits that are not drawn")
    parser.add_argument("--public", action="store_true", help="a report to hand on: numbers, no people, no paths")
    args = parser.parse_args(argv)
    setup_logging()
    sweep = load_sweep(args.sweep)
    changes = {"report_dir": args.out, "gallery": args.gallery, "show_people": args.show_people}
    sweep = dataclasses.replace(sweep, **{key: value for key, value in changes.items() if value is not None})
    sweep = sweep.made_public(args.out) if args.public else sweep
    return show_report(sweep, collect(sweep, made_by=["python", "-m", "lavis.sweeps.report", *sys.argv[1:]]))


if __name__ == "__main__":
    from lavis.common.cli import run_main

    run_main(main)
