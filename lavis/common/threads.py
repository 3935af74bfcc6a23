"""CPUs and the settings of their threads, without importing torch."""

from __future__ import annotations

import os


def calm() -> None:
    """Let waiting OpenMP threads sleep and not spin: on a busy machine spinning costs most of the speed."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")


def cpus() -> int:
    """Number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
