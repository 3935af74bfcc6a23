"""Settings of CPU threads, to call before torch is imported."""

from __future__ import annotations

import os


def calm() -> None:
    """Let waiting OpenMP threads sleep and not spin: on a busy machine spinning costs most of the speed."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
