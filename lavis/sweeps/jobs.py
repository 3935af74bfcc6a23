"""One job of a sweep: a command as an argument list, the folder it fills, the log it writes."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lavis.common.errors import DataError, MissingFile, first_few
from lavis.common.files import SMALL, read_json
from lavis.common.locks import Locked, lock, locked
from lavis.common.secrets import agree
from lavis.images.fingerprint import file_digests
from lavis.runners.run_dir import LOCK
from lavis.settings.changes import config_changes

RESULTS = "results.json"
TAIL_BYTES = 16_384
CLAIM = ".sweep.lock"  # held by the sweep that starts a run, and by the run
_UNPRINTABLE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[^\t\x20-\x7e\xa0-\uffff]")


@dataclass(frozen=True)
class Job:
    """A command to run once.

    `argv` goes to the system unchanged, never through a shell. `folder` is the run folder: a `results.json` there with
    `"finished": true` means that nothing is left to do. `log` receives the output. `inputs` are files that the results
    depend on, `config` is the configuration that the command composes.
    """

    name: str
    argv: tuple[str, ...]
    folder: Path
    log: Path
    inputs: tuple[Path, ...] = ()
    config: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def shown(self) -> str:
        """The command as typed in a shell."""
        return shlex.join(self.argv)

    @property
    def finished(self) -> bool:
        return read_results(self.folder).get("finished") is True

    def doubt(self) -> str:
        """Why the finished results may differ from what this job would compute now; empty without any reason."""
        remedy = "bash/run.py --rerun repeats it"
        results = read_results(self.folder)
        if results.get("problem"):
            return f"its model is broken ({results['problem']}); {remedy}"
        changes = config_changes(results.get("config"), self.config)
        if changes:
            more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
            return f"its results are of other settings ({first_few(changes)}{more}); {remedy}"
        files = changed_files(results)
        if files:
            return f"its results are of another {first_few(files)}; {remedy}"
        recorded = results.get("command")
        if isinstance(recorded, list) and recorded and not results.get("config"):
            (script, words), (own_script, own_words) = _split(recorded), _split(self.argv)
            if script == own_script and words != own_words:
                return f"its results are of another command line; {remedy}"
        written = _modified(self.folder / RESULTS)
        newer = [str(path) for path in self.inputs if written and _modified(path) > written]
        return f"its results are older than {', '.join(newer)}; {remedy}" if newer else ""

    def forget_results(self) -> None:
        """Delete the run's results and checkpoints, so that it starts over; runs in subfolders stay."""
        for path in [self.folder / RESULTS, *self.folder.glob("checkpoint_*")]:
            path.unlink(missing_ok=True)

    @property
    def busy(self) -> bool:
        """Whether another process is writing to the run folder, or is about to: one that outlived its sweep, say."""
        return locked(self.folder / LOCK) or locked(self.folder / CLAIM)

    @contextlib.contextmanager
    def claimed(self) -> Iterator[int | None]:
        """Keep other sweeps from starting this job; None if one has claimed it, else a file for the job to inherit.

        A run locks its folder only once Python has started: until then, and if the sweep is killed, it is the inherited
        file that tells a second sweep to wait.
        """
        with contextlib.ExitStack() as held:
            try:
                stream = held.enter_context(lock(self.folder / CLAIM))
            except Locked:
                yield None
            else:
                yield stream.fileno()


def changed_files(results: Mapping[str, Any]) -> list[str]:
    """The data files that results were measured on and that have another content now; those gone say nothing."""
    data = results.get("data")
    recorded = data.get("files") if isinstance(data, dict) else None
    if not isinstance(recorded, dict):
        return []
    now = file_digests(Path(path) for path in recorded)
    return [path for path, digest in now.items() if not agree(digest, recorded[path])]


def read_results(folder: Path) -> dict[str, Any]:
    """The run folder's results.json; empty if there is none or it cannot be read."""
    try:
        content = read_json(folder / RESULTS, "results file", largest=SMALL)
    except (MissingFile, DataError):
        return {}
    return content if isinstance(content, dict) else {}


def _split(argv: Sequence[str]) -> tuple[str, list[str]]:
    """The file name of the first Python script of a command line, and its arguments."""
    words = [str(word) for word in argv]
    first = next((n for n, word in enumerate(words) if word.endswith(".py")), 0)
    return Path(words[first]).name, words[first + 1 :]


def _modified(path: Path) -> float:
    """When a file, or the file behind a link, last changed; 0 if there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def log_tail(path: Path, lines: int = 12, since: int = 0) -> list[str]:
    """The last lines of a log from byte `since` on, without control characters; empty if there is no log."""
    try:
        with path.open("rb") as handle:
            size = handle.seek(0, 2)
            handle.seek(max(since, size - TAIL_BYTES))
            text = handle.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    printable = [_UNPRINTABLE.sub("", line.rsplit("\r", 1)[-1]).rstrip() for line in text.splitlines()]
    return [line for line in printable if line][-lines:]
