"""Evaluate checkpoints: `python evaluate.py --cfg-path … --options run.checkpoint=<file>` (or run.checkpoints=[…])."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lavis.common import memory, threads
from lavis.common.cli import USER_ERROR, parser, run_main


def main(argv: Sequence[str] | None = None) -> int:
    args = parser(
        "Evaluate checkpoints: --options run.checkpoint=<file>, or run.checkpoints=[<file>,<file>]."
    ).parse_args(argv)
    threads.calm()
    memory.own_large_blocks()
    from lavis.tasks.entry import evaluate_all

    table, sound = evaluate_all(args.cfg_path, args.options)
    sys.stdout.write(table)
    return 0 if sound else USER_ERROR


if __name__ == "__main__":
    run_main(main)
