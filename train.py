"""Step 1: train an original (reference) model. `python train.py --cfg-path configs/clip/retrieval_salmu_mini.yaml`."""

from __future__ import annotations

from collections.abc import Sequence

from lavis.common import memory, threads
from lavis.common.cli import USER_ERROR, parser, run_main, show
from lavis.common.interrupts import while_importing


def main(argv: Sequence[str] | None = None) -> int:
    args = parser("Train an original model: run.reference = compromised, clean or retrained.").parse_args(argv)
    threads.calm()
    memory.own_large_blocks()
    with while_importing():
        from lavis.tasks.entry import train

    result = train(args.cfg_path, args.options)
    show(result.table())
    return 0 if result.sound else USER_ERROR


if __name__ == "__main__":
    run_main(main)
