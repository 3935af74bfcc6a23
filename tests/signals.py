"""Sends signals to runs, sweeps and imports, starts each again, and compares the end with that of undisturbed ones.

    python -m tests.signals --signals 200 --out docs/results/signals.json

A chain is one command in a folder of its own: it is started, gets SIGKILL, SIGTERM or SIGINT (itself, or with its
whole process group) at an aim, and is started again, twice; then it is left alone until it ends. Afterwards weights,
metrics and imported files must equal those of an undisturbed command bit for bit, no temporary file may be left, and no
process may live.

A signal counts only if the command still ran: one that ended by itself ends its chain, and such a signal is drawn
earlier from then on, until --signals of them have counted. The draws follow from --seed and from which signals came too
late; how far a command has come when the signal reaches it does not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml

from lavis.common.arguments import COUNT, SEED
from lavis.common.checkpoint import load_checkpoint
from tests.importing.salmu_source import Importer
from tests.processes import ROOT, Started, run, start
from tests.small import SmallWorld, write_world

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
BEST = "checkpoint_best.pth"
PER_CHAIN = 2
MOST_DRAWS = 4  # for each signal that is asked for
EARLIER = 0.8  # the longest delay after an aim, for each signal that came too late there
PATIENCE = 240.0  # seconds; on a busy machine a sweep may need one minute for its report
OPTIONS = ("run.max_epoch=4", "run.save_freq_steps=2", "run.num_workers=2", "run.accum_grad_iters=1")
Aim = Callable[[Path, Started, int], object]  # (folder, process, its start in ns) -> whether the moment has come


@dataclass(frozen=True)
class Kind:
    """A command to disturb: `words` of a folder, what its end consists of, moments to aim at by name."""

    name: str
    words: Callable[[Path], list[str]]
    end: Callable[[Path], Any]
    aims: dict[str, Aim]
    seconds: float  # about as long as it runs


@dataclass
class Log:
    """What happened, by chain, and what went wrong."""

    chains: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def draws(self) -> list[dict[str, Any]]:
        """Every signal, with the kind of its command, whether it came in time or not."""
        return [{"kind": chain["kind"], **shot} for chain in self.chains for shot in chain["signals"]]

    def reached(self) -> list[dict[str, Any]]:
        """The signals that reached a command that still ran."""
        return [shot for shot in self.draws() if not too_late(shot)]

    def late(self) -> Counter[tuple[str, str]]:
        """How many signals came too late, by the command's kind and the aim."""
        return Counter((shot["kind"], shot["aim"]) for shot in self.draws() if too_late(shot))

    def summary(self) -> dict[str, Any]:
        reached = self.reached()
        return {
            "signals": len(reached),
            "draws": len(self.draws()),
            "by_aim": Counter(f"{shot['kind']}: {shot['aim']}" for shot in reached),
            "by_signal": Counter(f"{shot['signal']}{' to the group' if shot['group'] else ''}" for shot in reached),
            "failures": self.failures,
        }


def too_late(shot: dict[str, Any]) -> bool:
    """Whether the command had ended by itself when the signal came."""
    return shot["code"] == 0


def children(process: Started) -> list[str]:
    """Processes that this one has started, as the kernel lists them."""
    try:
        return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    except FileNotFoundError:
        return []


def exists(*patterns: str) -> Aim:
    """The moment at which the command has begun to write a file with such a name in the folder."""

    def newest(folder: Path) -> int:
        times = [0]
        for path in (path for pattern in patterns for path in folder.rglob(pattern)):
            with contextlib.suppress(FileNotFoundError):
                times.append(path.stat().st_mtime_ns)
        return max(times)

    return lambda folder, process, began: newest(folder) > began


def kinds(world: SmallWorld, folder: Path) -> list[Kind]:
    """The commands, in the order of their weights."""
    original = f"run.resume_ckpt_path={world.output}/original/clip/salmu_retrieval/{BEST}"
    importer = Importer(folder / "source")
    source = [str(importer.source.bench), str(importer.source.training)]

    def unlearn(place: Path) -> list[str]:
        return world.unlearn("vlul", options=(*OPTIONS, original, f"run.output_dir={place}"))

    def sweep(place: Path) -> list[str]:
        content = {"cfg_path": str(world.config), "methods": ["vlul", "ft"], "references": [], "gallery": 0}
        options = ["run.max_epoch=2", "run.save_freq_steps=2", original, f"run.output_dir={place}/out"]
        content |= {"df_sizes": [16], "report_dir": f"{place}/report", "options": options}
        place.mkdir(exist_ok=True)
        (place / "sweep.yaml").write_text(yaml.safe_dump(content))
        return [sys.executable, str(ROOT / "bash" / "run.py"), str(place / "sweep.yaml"), "--jobs", "1"]

    def imported(place: Path) -> list[str]:
        words = ["import", "--parquet", *source[:1], "--out", f"{place}/salmu", "--df-out", f"{place}/Df"]
        return [sys.executable, "-m", "lavis.datasets.salmu", *words]

    moments: dict[str, Aim] = {
        "workers start": lambda place, process, began: children(process),
        "a checkpoint is written": exists(".checkpoint_*.tmp"),
        "a cache is written": exists(".teacher-*.tmp", "teacher-*.safetensors"),
        "training has ended": exists("checkpoint_3.pth"),
        "results are written": exists(".results.json.*.tmp", "results.json"),
    }
    written: dict[str, Aim] = {"images are written": exists("*.jpg"), "annotations are written": exists("train.json")}
    jobs: dict[str, Aim] = {"a job starts": exists("*.log"), "a job has ended": exists("results.json")}
    return [
        Kind("run", unlearn, run_end, moments, 4.0),
        Kind("sweep", sweep, sweep_end, jobs, 12.0),
        Kind("import", imported, lambda place: contents(place, "**/*"), written, 3.0),
    ]


def run_end(place: Path) -> Any:
    """Weights and metrics of every run in a folder."""
    found = {}
    for path in sorted(place.rglob("results.json")):
        if (path.parent / BEST).exists():
            weights = load_checkpoint(path.parent / BEST)["model"]
            metrics = json.loads(path.read_text())["metrics"]
            found[path.parent.relative_to(place).as_posix()] = (weights, metrics)
    return found


def sweep_end(place: Path) -> Any:
    """Its runs, and the table of its report."""
    rows = json.loads((place / "report" / "results.json").read_text())["rows"]
    return run_end(place / "out"), [(row["name"], row["metrics"]) for row in rows]


def contents(place: Path, pattern: str) -> Any:
    """The bytes of all files, without what only serves to resume."""
    files = [path for path in sorted(place.glob(pattern)) if path.is_file() and ".import" not in path.parts]
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in files if path.name != "lock"}


def equal(one: Any, other: Any) -> bool:
    """Equality of nested containers that may contain tensors."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def attack(kind: Kind, place: Path, draw: random.Random, late: Counter[tuple[str, str]]) -> tuple[dict, list[str]]:
    """Start the command, send a signal at a drawn aim, wait for its end. Returns what happened, and what is wrong."""
    aim = draw.choice(["any moment", *kind.aims])
    number, group = draw.choice(SIGNALS), draw.random() < 0.5
    delay = draw.random() * (kind.seconds if aim == "any moment" else 0.05) * EARLIER ** late[kind.name, aim]
    fresh = kind.name != "run" or draw.random() < 0.3
    words, began = kind.words(place), time.time_ns()
    process = start(words, fresh=fresh, new_session=True)
    deadline = time.monotonic() + PATIENCE
    if aim != "any moment":
        while process.poll() is None and not kind.aims[aim](place, process, began) and time.monotonic() < deadline:
            time.sleep(0.0005)
    time.sleep(delay)
    if process.poll() is None:
        (os.killpg if group else os.kill)(process.pid, number)
    try:
        error = process.communicate(timeout=PATIENCE)[1]
    except subprocess.TimeoutExpired:
        living = list(left_behind(place))
        os.killpg(process.pid, signal.SIGKILL)
        shot = {"aim": aim, "signal": number.name, "group": group, "code": None}
        return shot, [f"{kind.name}: did not end {PATIENCE:.0f} s after {shot}; {living}"]
    shot = {"aim": aim, "signal": number.name, "group": group, "code": process.returncode}
    return shot, [f"{kind.name}: {shot}: {failure}" for failure in wrong_end(process.returncode, number, error)]


def wrong_end(code: int, number: int, error: str) -> Iterator[str]:
    """What is wrong with how a command ended that got this signal."""
    importing = "KeyboardInterrupt" in error  # ctrl-C while Python itself starts: it shows where, and ends with 1
    if code not in (0, -number, 128 + number, *([1] if importing else [])):
        yield f"exit code {code}: {error[-600:]}"
    elif "Traceback" in error and not importing and number != signal.SIGKILL:  # after that only workers can print
        yield error[-600:]


def left_behind(place: Path) -> Iterator[str]:
    """Temporary files, and processes that still name the folder."""
    yield from (f"left behind: {path.relative_to(place)}" for path in place.rglob("*.tmp"))
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if str(place).encode() in words:
            yield f"still runs: {words.decode(errors='replace')}"


def chain(kind: Kind, place: Path, whole: Any, draw: random.Random, log: Log) -> None:
    """Disturb one command PER_CHAIN times, unless it ends before; let it end, and compare."""
    began, before, shots = time.monotonic(), len(log.failures), []
    while len(shots) < PER_CHAIN and not any(map(too_late, shots)):
        shot, failures = attack(kind, place, draw, log.late())
        shots.append(shot)
        log.failures += failures
    done = run(kind.words(place), fresh=kind.name != "run")
    found = [f"exit code {done.returncode}: {done.stderr[-600:]}"] if done.returncode else list(left_behind(place))
    if not done.returncode and not equal(kind.end(place), whole):
        found.append("another end than without signals")
    log.failures += [f"{kind.name}, after {shots}: {failure}" for failure in found]
    for failure in log.failures[before:]:
        sys.stderr.write(f"{failure}\n")
    log.chains.append({"kind": kind.name, "signals": shots, "seconds": round(time.monotonic() - began, 1)})


def disturb(signals: int, seed: int, folder: Path) -> Log:
    """Send signals until this many have counted, half of the chains to runs, a quarter each to sweeps and imports."""
    draw, log = random.Random(seed), Log()
    world = write_world(folder / "world")
    done = run(world.command("train.py"))
    assert done.returncode == 0, done.stderr
    known = kinds(world, folder)
    wholes = {}
    for kind in known:
        done = run(kind.words(folder / f"whole-{kind.name}"), fresh=kind.name != "run")
        assert done.returncode == 0, done.stderr
        wholes[kind.name] = kind.end(folder / f"whole-{kind.name}")
    while len(log.reached()) < signals and len(log.draws()) < MOST_DRAWS * signals:
        number = len(log.chains)
        kind = known[0 if number % 4 < 2 else number % 4 - 1]
        chain(kind, folder / f"chain-{number}", wholes[kind.name], draw, log)
    if len(log.reached()) < signals:
        log.failures.append(f"only {len(log.reached())} of {len(log.draws())} signals came in time")
    return log


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--signals", type=COUNT, default=200)
    parser.add_argument("--seed", type=SEED, default=0)
    parser.add_argument("--out", type=Path, help="JSON file with every signal")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = disturb(args.signals, args.seed, Path(folder))
    summary = log.summary()
    if args.out:
        args.out.write_text(json.dumps({**summary, "chains": log.chains}, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(summary, indent=1) + "\n")
    return 1 if log.failures else 0


if __name__ == "__main__":
    sys.exit(main())
