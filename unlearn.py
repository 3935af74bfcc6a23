"""Step 2: unlearn. Runs alone or under torch.distributed.run; see README.md for the command lines."""

from __future__ import annotations

from collections.abc import Sequence

from lavis.common import memory, threads
from lavis.common.cli import USER_ERROR, run_main, show, unlearn_parser
from lavis.common.interrupts import while_importing


def main(argv: Sequence[str] | None = None) -> int:
    args = unlearn_parser().parse_args(argv)
    threads.calm()
    memory.own_large_blocks()
    with while_importing():
        from lavis.tasks.entry import unlearn

    flags = {"method": args.unlearn_method, "df_size": args.df_size, "alpha": args.alpha}
    result = unlearn(args.cfg_path, args.options, args.backbone, args.task, flags)
    show(result.table())
    return 0 if result.sound else USER_ERROR


if __name__ == "__main__":
    run_main(main)
