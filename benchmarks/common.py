"""Helpers of the benchmarks: child processes (each with its own peak memory), medians, and a record of the machine."""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("torch", "torchvision", "open_clip_torch", "numpy", "pillow")


def child(script: str, *arguments: object) -> dict[str, Any]:
    """Run `script` with arguments in a separate process; returns the JSON object in its last line of output."""
    done = subprocess.run([sys.executable, script, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{Path(script).name} {' '.join(map(str, arguments))} failed ({done.returncode}):\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def alternate(kinds: Sequence[str], repeats: int, measure: Callable[[str], dict[str, Any]]) -> dict[str, list[dict]]:
    """Measure every kind in turn, `repeats` times, so that a slow minute of the machine affects all of them."""
    runs: dict[str, list[dict]] = {kind: [] for kind in kinds}
    for repeat in range(repeats):
        for kind in kinds:
            runs[kind].append(measure(kind))
            shown = {k: round(v, 3) for k, v in runs[kind][-1].items() if isinstance(v, float)}
            say(f"{repeat + 1}/{repeats} {kind}: {shown}")
    return runs


def number(value: float | None, digits: int = 3) -> str:
    """A number in a table, with a true minus sign."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def markdown(head: Sequence[str], lines: Iterable[Sequence[str]], rule: Sequence[str] = ()) -> str:
    """A table; `rule` aligns its columns."""
    rows = [head, rule or ["---"] * len(head), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def of_seed(folder: Path, name: str, seed: int) -> Path:
    """A file of the models below `folder` that belong to a seed: one per seed where there are several, else the one."""
    own = folder / f"seed-{seed}" / name
    return (own if own.is_file() else folder / name).absolute()


def spread(values: Sequence[float]) -> dict[str, Any]:
    """The median and all the values."""
    return {"median": statistics.median(values), "all": list(values)}


def peak_mib() -> float:
    """Peak resident memory of this process, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def wait(device: str) -> None:
    """Wait until a GPU has done what was asked of it."""
    if device.startswith("cuda"):
        _cuda().synchronize()


def reset_peak(device: str) -> None:
    """Restart the measurement of peak memory from what is allocated now."""
    if device.startswith("cuda"):
        _cuda().reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def peak_of(device: str) -> float:
    """Peak memory since the last reset, in MiB: of a GPU, or of this process on the CPU."""
    return _cuda().max_memory_allocated() / 2**20 if device.startswith("cuda") else _peak_since_reset()


def _cuda() -> Any:
    import torch  # not needed by benchmarks that start others

    return torch.cuda


def _peak_since_reset() -> float:
    """Peak resident memory, in MiB; since the start of the process if there is no /proc."""
    status = Path("/proc/self/status")
    if not status.exists():
        return peak_mib()
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def where() -> dict[str, Any]:
    """Command, commit, machine and versions of a measurement."""
    return {
        "command": ["python", *map(_elsewhere, sys.argv)],
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "commit": _commit(),
        "machine": _machine(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
    }


def _elsewhere(word: str) -> str:
    """A word of a command; of a path that begins at the root, which is this machine's, the last part alone."""
    return Path(word).name if Path(word).is_absolute() else word


def finish(result: dict[str, Any], out: str | None) -> None:
    """Print the result, and write it to `out` if that is given."""
    say(json.dumps(result, indent=1))
    store(result, out)


def store(result: dict[str, Any], out: str | None) -> None:
    """Write what has been measured so far to `out`, if that is given; a benchmark that is cut off leaves it there."""
    if out:
        Path(out).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _machine() -> dict[str, Any]:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "system": platform.system(),
        "load_average_at_end": os.getloadavg(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    if shutil.which("git") is None:
        return None
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None
