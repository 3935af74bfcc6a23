"""Shows how far a sweep is: one line per job, and on a terminal a bar with the time left."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence

from tqdm import tqdm

logger = logging.getLogger("lavis.sweeps")


def clock(seconds: float) -> str:
    """Seconds in words: 42 s, 3 min 05 s, 2 h 07 min."""
    whole = int(round(max(seconds, 0.0)))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class ProgressDisplay:
    """Counts finished jobs and estimates the time left from the mean time of those that ran."""

    def __init__(self, total: int, lanes: int) -> None:
        self.total, self.lanes = total, max(1, lanes)
        self.finished = 0
        self._times: list[float] = []
        self._shown = 0.0
        self._bar = tqdm(total=total, unit="job", disable=not sys.stderr.isatty(), leave=False, dynamic_ncols=True)

    def __enter__(self) -> ProgressDisplay:
        return self

    def __exit__(self, *details: object) -> None:
        self._bar.close()

    def seconds_left(self, running: Sequence[float] = ()) -> float | None:
        """Seconds until the last job ends, given how long the running ones have run; None until the first has ended."""
        if not self._times:
            return None
        mean = sum(self._times) / len(self._times)
        waiting = max(0, self.total - self.finished - len(running))
        work = mean * waiting + sum(max(0.0, mean - spent) for spent in running)
        return work / min(self.lanes, max(1, waiting + len(running)))

    def say(self, text: str) -> None:
        """Log a line above the bar."""
        with tqdm.external_write_mode(file=sys.stderr):
            logger.info("%s", text)

    def step(self, text: str, seconds: float | None = None, running: Sequence[float] = ()) -> None:
        """Count one more ended job; `seconds` if it ran. running: for how long the others have run."""
        self.finished += 1
        if seconds is not None:
            self._times.append(seconds)
        left = self.seconds_left(running)
        more = f" (about {clock(left)} left for all)" if left and self.finished < self.total else ""
        self._bar.update(1)
        self.say(f"[{self.finished}/{self.total}] {text}{more}")

    def show(self, running: Sequence[tuple[str, float]]) -> None:
        """Refresh the bar, at most once per second."""
        if self._bar.disable or time.monotonic() - self._shown < 1.0:
            return
        self._shown = time.monotonic()
        left = self.seconds_left([spent for _, spent in running])
        names = ", ".join(f"{name} {clock(spent)}" for name, spent in running)
        self._bar.set_postfix_str(f"{f'{clock(left)} left; ' if left is not None else ''}{names}")
