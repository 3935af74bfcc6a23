"""What a GPU has to pass before its times mean anything: the tests that need one, and NCCL.

    python benchmarks/gpu_checks.py tests --out benchmarks/results/gpu_tests.json
    python benchmarks/gpu_checks.py nccl --out benchmarks/results/gpu_nccl.json

`tests` runs `pytest -m gpu` in several processes, on the files that have such tests, and keeps its summary. `nccl`
reduces tensors in a group of one process and of two on the same device; NCCL usually refuses two, and its message is
then the result. Without CUDA, the tests are only collected, and gloo replaces NCCL.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402

from benchmarks.common import finish, say, wait, where  # noqa: E402
from lavis.common import distributed  # noqa: E402
from lavis.common.arguments import COUNT  # noqa: E402

SIZES = (2**10, 2**20, 2**26)  # numbers in a reduced tensor: 4 KiB to 256 MiB
TIMES = 20
SECONDS = 30  # NCCL may wait for ever for a process that it has refused


def main() -> None:
    args = _arguments()
    if args.child:
        reduce_here(args.device)
        return
    found = tests(args) if args.part == "tests" else {f"processes: {n}": group(n, args.device) for n in (1, 2)}
    finish({"what": __doc__.splitlines()[0], "part": args.part, "device": args.device} | found | where(), args.out)


def tests(args: argparse.Namespace) -> dict[str, Any]:
    """Exit code, seconds and the last lines of pytest."""
    files = [str(path) for path in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.gpu" in path.read_text("utf-8")]
    how = ["-n", str(args.processes)] if args.device != "cpu" else ["--collect-only"]
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-rA", "-p", "no:cacheprovider", *how, *files]
    began = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = [
        line for line in done.stdout.splitlines() if line.split(" ")[0] in ("PASSED", "FAILED", "ERROR", "SKIPPED")
    ]
    found = {"gpu": card(), "exit_code": done.returncode, "seconds": time.monotonic() - began, "tests": lines}
    return found | {"end": (done.stdout + done.stderr)[-6000:]}


def card() -> str | None:
    """The GPU's name, driver and memory, where nvidia-smi is installed."""
    if shutil.which("nvidia-smi") is None:
        return None
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()


def group(processes: int, device: str) -> dict[str, Any]:
    """What a process group of this size on one device reports, or its last messages."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command = [sys.executable, *launcher, __file__, "nccl", "--child", "--device", device]
    variables = {**os.environ, "NCCL_DEBUG": "WARN", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return {"works": False, "message": f"no answer within {SECONDS} s"}
    lines = done.stdout.splitlines()
    if done.returncode:
        told = [line for line in [*lines, *done.stderr.splitlines()] if "NCCL" in line or "Error" in line]
        return {"works": False, "message": told[:8] or done.stderr[-2000:]}
    return {"works": True} | json.loads(next(line for line in lines if line.startswith("{")))


def reduce_here(device: str) -> None:
    """In each process: milliseconds of an all-reduce by size; rank 0 writes them."""
    dist.init_process_group("gloo" if device == "cpu" else "nccl")
    if device != "cpu":
        torch.cuda.set_device(0)
    found = {f"{4 * size} bytes": _milliseconds(torch.ones(size, device=device)) for size in SIZES}
    if dist.get_rank() == 0:
        version = ".".join(map(str, torch.cuda.nccl.version())) if device != "cpu" else None
        say(json.dumps({"milliseconds": found, "nccl": version}))
    distributed.shutdown()


def _milliseconds(tensor: torch.Tensor) -> float:
    dist.all_reduce(tensor)
    wait(tensor.device.type)
    began = time.perf_counter()
    for _ in range(TIMES):
        dist.all_reduce(tensor)
    wait(tensor.device.type)
    return 1e3 * (time.perf_counter() - began) / TIMES


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("tests", "nccl"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--processes", type=COUNT, default=6, help="of pytest")
    parser.add_argument("--tiny", action="store_true", help="accepted for benchmarks/gpu.sh; changes nothing here")
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
