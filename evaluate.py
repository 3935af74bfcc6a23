"""Evaluate checkpoints: `python evaluate.py --cfg-path … --options run.checkpoint=<file>` (or run.checkpoints=[…])."""

from __future__ import annotations

from collections.abc import Sequence

from lavis.common import memory, threads
from lavis.common.cli import USER_ERROR, parser, run_main, show
from lavis.common.interrupts import while_importing


def main(argv: Sequence[str] | None = None) -> int:
    args = parser(
        "Evaluate checkpoints: --options run.checkpoint=<file>, or run.checkpoints=[<file>,<file>]."
    ).parse_args(argv)
    threads.calm()
    memory.own_large_blocks()
    with while_importing():
        from lavis.tasks.entry import evaluate

    table = evaluate(args.cfg_path, args.options)
    show(table.text())
    return 0 if table.sound else USER_ERROR


if __name__ == "__main__":
    run_main(main)
