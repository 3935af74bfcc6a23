"""Unlearning steps on a GPU, by batch size, precision, method and way of running: time, memory, share of the peak rate.

    python benchmarks/gpu_step.py --part sizes --out benchmarks/results/gpu_sizes.json
    python benchmarks/gpu_step.py --part methods --out benchmarks/results/gpu_methods.json
    python benchmarks/gpu_step.py --part ways --out benchmarks/results/gpu_ways.json

ViT-B-16 at its real size with random weights; images and captions are drawn, and lie on the device before the first
step, captions padded to 32 positions. `half` is the number of pairs of Df, and of Dr, in a step. Times of a step:

    wall_ms    the clock, over many steps that only wait for the device at the end
    host_ms    until the host has issued a step; if it is close to wall_ms, the device waits for the host
    event_ms   between CUDA events after two steps, the median
    busy_ms    the device's kernels alone, by torch's profiler, over one step

`share` is the operations of a step, by torch's counter, over wall time and the rate of a large matrix product in the
same precision, which the same process measures first. Every measurement is written when it is made, so that a run that
is stopped keeps what it has; one that fails leaves its message instead.
"""

from __future__ import annotations

import argparse
import copy
import gc
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch.autograd import DeviceType  # noqa: E402
from torch.profiler import ProfilerActivity, profile  # noqa: E402

from benchmarks import drawn, prepared, unlearn_step  # noqa: E402
from benchmarks.common import finish, peak_mib, peak_of, reset_peak, say, store, wait, where  # noqa: E402
from lavis.common.arguments import COUNT, SECONDS  # noqa: E402
from lavis.common.registry import registry  # noqa: E402
from lavis.runners.loop import TrainingLoop  # noqa: E402
from lavis.settings.config import load_config  # noqa: E402
from lavis.settings.schema import ModelConfig  # noqa: E402
from lavis.tasks.entry import jobs_of  # noqa: E402
from lavis.towers.recompute import RecomputedMlp  # noqa: E402

SIZES = (16, 64, 256, 512, 1024)
PRECISIONS = ("bf16", "tf32", "fp32")
METHODS = ("vlul", "erase", "delete", "cpd", "neggrad")
BACKENDS = {"compiled": {"dynamic": False}, "reduced overhead": {"dynamic": False, "mode": "reduce-overhead"}}
WAYS = ("plain", "MLPs stored", "graph", "compiled", "compiled graph", "reduced overhead")
WARM_UP = 3
MOST_STEPS = 40
MOST_CALLS = 12  # rows of the profile


@dataclass(frozen=True)
class Case:
    """What one measurement runs; `live`: the teacher embeds every batch instead of reading stored rows."""

    half: int
    precision: str
    method: str = "vlul"
    live: bool = False
    way: str = "loop"


def main() -> None:
    args = _arguments()
    result: dict[str, Any] = {"what": __doc__.splitlines()[0], "model": args.model, "part": args.part}
    result |= {"device": _device_name(args.device), "rates": rates(args.device), "cases": []} | where()
    bench = Bench(args, result["rates"])
    for case in cases(args.part, args.sizes, args.ways):
        result["cases"].append({**asdict(case), **bench.tried(case)})
        say(str(result["cases"][-1]))
        store(result, args.out)
    finish(result, args.out)


def cases(part: str, sizes: list[int], ways: list[str]) -> list[Case]:
    """The measurements of a part, the most useful first."""
    few = sizes[:3:2]
    if part == "sizes":
        return [Case(half, precision) for precision in PRECISIONS for half in sizes]
    if part == "methods":
        kinds = [("vlul", True), *((method, False) for method in METHODS[1:])]
        return [Case(half, precision, *kind) for precision in PRECISIONS[:2] for half in few for kind in kinds]
    return [
        Case(half, precision, way=way)
        for way in ways
        for half in few
        for precision in PRECISIONS[: 1 + (way in WAYS[:3])]
    ]


class Bench:
    """Measures cases with copies of one model."""

    def __init__(self, args: argparse.Namespace, rates: dict[str, float]) -> None:
        self.args, self.rates, self.device = args, rates, torch.device(args.device)
        torch.manual_seed(0)
        config = ModelConfig(model_type=args.model)
        self.model = registry.get_model_class("clip").from_config(config).to(self.device)
        self.operations: dict[tuple[str, bool], float] = {}  # GFLOP per pair

    def tried(self, case: Case) -> dict[str, Any]:
        """The measurement, or why there is none."""
        torch.set_float32_matmul_precision("high" if case.precision == "tf32" else "highest")
        try:
            self._release()
            return self.measured(case)
        except torch.OutOfMemoryError:
            return {"error": "out of memory"}
        except Exception as error:  # whatever fails here is a result, and the next case goes on
            return {"error": f"{type(error).__name__}: {str(error)[:600]}"}

    def _release(self) -> None:
        """Free what the previous case left."""
        torch._dynamo.reset()
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def measured(self, case: Case) -> dict[str, Any]:
        step = self.step(case)
        found = timed(step, self.device, self.args.seconds)
        gflop = self.gflop(case)
        rate = self.rates[case.precision]
        return found | {"gflop": gflop, "share": gflop / found["wall_ms"] * 1e3 / rate, "rate_gflops": rate}

    def gflop(self, case: Case) -> float:
        """Operations of a step: they are counted once for each method, in a small batch, and grow with it."""
        key = case.method, case.live
        if key not in self.operations:
            small = min(self.args.sizes)
            step = self.step(Case(small, "fp32", *key))
            self.operations[key] = unlearn_step.counted(step)["gflop"] / small
        return self.operations[key] * case.half

    def step(self, case: Case) -> Callable[[], Any]:
        """A function that takes one step of the case, always on the same batch."""
        options = [f"run.amp={case.precision == 'bf16'}", "run.amp_dtype=bf16", f"run.device={self.args.device}"]
        jobs = jobs_of(case.method)
        run = load_config(str(prepared.CONFIG), options, job=jobs, method=case.method, df_size=case.half).run
        model = copy.deepcopy(self.model)
        batch = drawn.batch(model, case.half, self.device)
        if case.way == "plain":
            return self._plain(model, run, batch, case)
        change(model, case.way)
        trainer = registry.get_trainer_class(case.method)(case.method, model, run, self.device)
        drawn.complete(trainer, batch, live=case.live)
        loop = TrainingLoop(trainer, lambda epoch, step: run.init_lr)
        trainer.begin()
        if case.way in ("graph", "compiled graph"):
            return captured(loop, batch)
        return lambda: loop.step(iter([batch]), 0, 0)

    def _plain(self, model: Any, run: Any, batch: Any, case: Case) -> Callable[[], Any]:
        words = SimpleNamespace(model=self.args.model, method=case.method)
        step = unlearn_step.plain_step(SimpleNamespace(model=model, run=run), words)
        half = {"device_type": self.device.type, "dtype": torch.bfloat16, "enabled": case.precision == "bf16"}

        def cast() -> float:
            with torch.autocast(**half):
                return step(batch)

        return cast


def change(model: Any, way: str) -> None:
    """Switch what the way is about."""
    towers = (model.clip.visual.transformer, model.clip.transformer)
    if way == "MLPs stored":
        for module in model.modules():
            if isinstance(module, RecomputedMlp):
                module.__class__ = torch.nn.Sequential
    keys = BACKENDS.get(way.removesuffix(" graph"))
    for block in (block for tower in towers if keys is not None for block in tower.resblocks):
        block.compile(**keys)


def captured(loop: TrainingLoop, batch: Any) -> Callable[[], Any]:
    """Forward and backward as one CUDA graph, replayed in every step; the optimiser's step follows as always."""
    if batch.device.type != "cuda":
        raise NotImplementedError("graphs need a CUDA device")
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):  # what is created at first use must not become part of the graph
        for _ in range(WARM_UP):
            loop.step(iter([batch]), 0, 0)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        total, _ = loop.network(batch)
        total.backward()
    gradients = [(p, p.grad) for p in loop.model.parameters() if p.grad is not None]

    def step() -> Any:
        graph.replay()
        for parameter, gradient in gradients:  # the graph writes into them, the loop drops them after its step
            parameter.grad = gradient
        loop._update()
        return total, batch  # which keeps the batch: the graph reads it where it lay when it was captured

    return step


def timed(step: Callable[[], Any], device: torch.device, seconds: float) -> dict[str, Any]:
    """Milliseconds of a step, and the peak of memory, over about this many seconds."""
    for _ in range(WARM_UP):
        step()
    one = _seconds(step, device)
    steps = max(3, min(MOST_STEPS, round(seconds / one)))
    reset_peak(device.type)
    marks = [_mark(device)]
    began = time.perf_counter()
    for _ in range(steps):
        step()
        marks.append(_mark(device))
    issued = time.perf_counter() - began
    wait(device.type)
    wall = time.perf_counter() - began
    found = {"steps": steps, "wall_ms": 1e3 * wall / steps, "host_ms": 1e3 * issued / steps}
    found |= {"event_ms": _between(marks), "peak_mib": peak_of(device.type)}
    return found | profiled(step, device) | {"process_mib": peak_mib()}


def _mark(device: torch.device) -> torch.cuda.Event | None:
    """A CUDA event at this point of the device's work."""
    if device.type != "cuda":
        return None
    mark = torch.cuda.Event(enable_timing=True)
    mark.record()
    return mark


def _between(marks: list[Any]) -> float | None:
    """Median milliseconds from one event to the next."""
    pairs = zip(marks, marks[1:], strict=False)
    return statistics.median(one.elapsed_time(other) for one, other in pairs) if marks[0] else None


def profiled(step: Callable[[], Any], device: torch.device) -> dict[str, Any]:
    """Of one step: milliseconds of all kernels and copies, their number, and what the host spends most time on."""
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=kinds, acc_events=True) as record:
        step()
        wait(device.type)
    events = list(record.events())
    kernels = [event.self_device_time_total for event in events if event.device_type == DeviceType.CUDA]
    host = sorted(record.key_averages(), key=lambda row: -row.self_cpu_time_total)[:MOST_CALLS]
    calls = {row.key: [row.count, row.self_cpu_time_total / 1e3] for row in host}
    return {"busy_ms": sum(kernels) / 1e3 if kernels else None, "kernels": len(kernels), "host_calls_and_ms": calls}


def rates(device: str) -> dict[str, float]:
    """GFLOP/s of large matrix products by precision, and GB/s of a copy."""
    torch.set_float32_matmul_precision("highest")
    exact = unlearn_step.product_rate(device)
    torch.set_float32_matmul_precision("high")
    rounded = unlearn_step.product_rate(device)["float32_gflops"]
    names = {"fp32": exact["float32_gflops"], "tf32": rounded, "bf16": exact["bfloat16_gflops"]}
    return names | {"copy_gb_per_s": exact["copy_gb_per_s"]}


def _seconds(step: Callable[[], Any], device: torch.device) -> float:
    wait(device.type)
    began = time.perf_counter()
    step()
    wait(device.type)
    return time.perf_counter() - began


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device.startswith("cuda") else device


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("sizes", "methods", "ways"), default="sizes")
    parser.add_argument("--model", default="ViT-B-16")
    parser.add_argument("--sizes", type=COUNT, nargs="+", default=list(SIZES), help="pairs of Df, and of Dr, in a step")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS, help="of the part of that name")
    parser.add_argument("--seconds", type=SECONDS, default=1.0, help="of each measurement, about")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a model of one layer and small batches, for a proof")
    parser.add_argument("--out", help="JSON file to write")
    args = parser.parse_args()
    if args.tiny:
        args.model, args.sizes, args.seconds = drawn.tiny_model().stem, [2, 3, 4], 0.01
    return args


if __name__ == "__main__":
    main()
