"""Readings for tests."""

from __future__ import annotations

import numpy as np

from lavis.audits.attack import Reading


def constant(value: float, people: int = 3) -> Reading:
    """Every person has one pair of this value."""
    return Reading(np.full(people, value), np.ones(people))
