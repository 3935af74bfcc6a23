"""What a command says at its end about the commands that usually come next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lavis.common.home import home_path

if TYPE_CHECKING:  # at run time torch would be loaded for --help
    from lavis.api.running import Result


def next_steps(result: Result, out: str) -> str:
    """Where an unlearning's model and record are, and what to do with them, in this order."""
    from lavis.deletion.record import PAGE

    steps = [
        f"multidelete audit {out}",
        f"multidelete export {out} --to {result.form or 'open_clip'} --out FOLDER",
        f"multidelete purge {out}",
        f"multidelete record {out}",
    ]
    files = f"model: {result.checkpoint}\nrecord: {result.folder / PAGE}\n"
    return f"{files}next: {'; '.join(steps)}\n"


def outdated(run: str) -> str:
    """That a run's record does not have what was just measured; empty if there is no record."""
    from lavis.deletion.record import RECORD

    known = (home_path(run) / RECORD).is_file()
    return f"the deletion record does not have this yet: multidelete record {run}\n" if known else ""
