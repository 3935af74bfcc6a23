"""Estimates the cost of unlearning on many devices, by a simple model of a step's counted operations and bytes.

    python benchmarks/scaling.py --out benchmarks/results/scaling.json
    OMP_NUM_THREADS=1 python benchmarks/scaling.py --check --out benchmarks/results/scaling_check.json
    python benchmarks/scaling.py --flops-per-second <measured> --link <measured> --out …

Counted on torch's meta device, for each architecture: parameters, and operations of a step with pairs of Df and Dr
(forward and backward, stored teacher, captions of --tokens positions). Given: the rate at which a device computes, and
the bytes per second that it sends in a reduction. Model: a step of W devices computes for t = operations / rate. Its
reduction sends 2 (W - 1) / W times the gradients' bytes from each device, which takes r. A step takes t + r without
overlap, and max(t, t / 3 + r) with full overlap with the backward pass (two thirds of t). --check runs real processes
(gloo) and compares the measured time with both bounds.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import open_clip  # noqa: E402
import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
from torch.nn.parallel import DistributedDataParallel  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from benchmarks.common import finish, say, where  # noqa: E402
from lavis.common import distributed  # noqa: E402
from lavis.common.arguments import COUNT, decimal  # noqa: E402
from lavis.datasets.annotations import Entry  # noqa: E402
from lavis.towers.attention import compute_first_token, pack_attention  # noqa: E402

MODELS = ("ViT-B-16", "ViT-L-14", "ViT-H-14", "ViT-bigG-14")
DEVICES = (1, 8, 64, 512)
RATE = decimal(1.0, 1e18)
BYTES = 4  # of a weight, a gradient, and each of AdamW's two states


def main() -> None:
    args = _arguments()
    if args.child:
        say(json.dumps(measured(args)))
        return
    result: dict[str, Any] = {"what": __doc__.splitlines()[0], "pairs_a_device": args.pairs, "tokens": args.tokens}
    if args.check:
        result |= check(args)
    else:
        result |= {"forget_pairs": args.forget, "epochs": args.epochs, "link_bytes_per_second": args.link}
        result |= {"bytes_an_entry": entry_bytes()}
        result |= {"flops_per_second": args.flops_per_second, "models": {m: prediction(m, args) for m in args.models}}
    finish(result | where(), args.out)


def counts(name: str, pairs: int, tokens: int) -> dict[str, float]:
    """Parameters and operations of one step of `pairs` pairs, counted without allocating memory for either."""
    with torch.device("meta"):
        clip = open_clip.create_model(name, load_weights=False, device="meta")
        pack_attention(clip)
        compute_first_token(clip.visual)
        images = torch.zeros(pairs, 3, *_size(clip))
        texts = torch.zeros(pairs, clip.context_length, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        image = clip.encode_image(images)
    of_images = counter.get_total_flops()
    with FlopCounterMode(display=False) as counter:
        text = clip.encode_text(texts)
    of_texts = counter.get_total_flops() * tokens / clip.context_length
    assert image.shape == text.shape
    parameters = sum(p.numel() for p in clip.parameters())
    return {
        "parameters": parameters,
        "flop": 3.0 * (of_images + of_texts),
        "blocks": len(clip.visual.transformer.resblocks),
    }


def entry_bytes(n: int = 200_000) -> float:
    """Host memory of one annotation entry, with a caption of some forty letters."""
    tracemalloc.start()
    rows = [Entry(f"retain/{i:09d}.jpg", (f"a caption of some forty letters, {i:09d}",)) for i in range(n)]
    allocated = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return allocated / len(rows)


def _size(clip: Any) -> tuple[int, int]:
    size = clip.visual.image_size
    return (size, size) if isinstance(size, int) else tuple(size)


def prediction(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """A row per number of devices."""
    found: dict[str, Any] = counts(name, args.pairs, args.tokens)
    found["gradient_bytes"] = BYTES * found["parameters"]
    found["rows"] = {str(n): _row(found, n, args) for n in args.devices}
    return found


def _row(model: dict[str, Any], devices: int, args: argparse.Namespace) -> dict[str, float]:
    steps = args.epochs * (args.forget // (devices * args.pairs // 2))
    compute = model["flop"] / args.flops_per_second
    sent = reduced(model["gradient_bytes"], devices)
    low, high = bounds(compute, sent / args.link)
    return {
        "steps": steps,
        "compute_seconds": compute,
        "bytes_sent_a_step": sent,
        "step_seconds": [low, high],
        "run_seconds": [steps * low, steps * high],
        "state_gib_ddp": 4 * model["gradient_bytes"] / 2**30,
        "state_gib_fsdp": 4 * model["gradient_bytes"] / devices / 2**30,
    }


def reduced(gradients: float, devices: int) -> float:
    """Bytes that a ring reduction sends from each device."""
    return 2 * (devices - 1) / devices * gradients


def bounds(compute: float, reduction: float) -> tuple[float, float]:
    """Seconds of a step whose reduction overlaps the backward pass as far as possible, and of one without overlap."""
    return max(compute, compute / 3 + reduction), compute + reduction


def check(args: argparse.Namespace) -> dict[str, Any]:
    """One process, and two that reduce: measured seconds of a step, and the bounds computed from its parts."""
    alone, pair = (_launched(args, n) for n in (1, 2))
    low, high = bounds(pair["compute"], pair["reduce"])
    return {
        "model": args.models[0],
        "alone": alone,
        "pair": pair,
        "bounds": [low, high],
        "measured_over_bounds": [pair["step"] / low, pair["step"] / high],
    }


def _launched(args: argparse.Namespace, processes: int) -> dict[str, float]:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", __file__, "--child"]
    given = ["--models", args.models[0], "--pairs", str(args.pairs), "--repeats", str(args.repeats)]
    done = subprocess.run([sys.executable, *launcher, *given], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{processes} processes failed:\n{done.stderr}")
    return json.loads([line for line in done.stdout.splitlines() if line.startswith("{")][0])


def measured(args: argparse.Namespace) -> dict[str, float]:
    """In each process: seconds of a step without reduction, of one with it, and of the reduction alone (medians)."""
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    clip = open_clip.create_model(args.models[0], load_weights=False)
    clip.requires_grad_(True)
    network = DistributedDataParallel(clip, find_unused_parameters=True)
    images = torch.randn(args.pairs, 3, *_size(clip))
    texts = torch.randint(1, 1000, (args.pairs, clip.context_length))

    def step() -> None:
        image, text, _ = network(images, texts)
        (image @ text.T).square().mean().backward()

    def apart() -> None:
        with network.no_sync():
            step()

    gradients = [torch.zeros(25 * 2**18) for _ in range(math.ceil(_parameters(clip) / (25 * 2**18)))]
    kinds = {"compute": apart, "step": step, "reduce": lambda: [dist.all_reduce(part) for part in gradients]}
    found = {name: _median(work, args.repeats) for name, work in kinds.items()}
    if dist.get_rank():
        sys.stdout = sys.stderr
    distributed.shutdown()
    return found


def _parameters(clip: Any) -> int:
    return sum(p.numel() for p in clip.parameters())


def _median(work: Any, repeats: int) -> float:
    seconds = []
    for _ in range(repeats + 1):
        dist.barrier()
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS), help="open_clip's names")
    parser.add_argument("--devices", nargs="+", type=COUNT, default=list(DEVICES))
    parser.add_argument("--pairs", type=COUNT, default=32, help="pairs of a device in a step, half of them of Df")
    parser.add_argument("--tokens", type=COUNT, default=32, help="positions of the longest caption of a batch")
    parser.add_argument("--forget", type=COUNT, default=30468, help="pairs of Df")
    parser.add_argument("--epochs", type=COUNT, default=10)
    parser.add_argument("--flops-per-second", type=RATE, default=4e14, help="of one device (an assumption: measure it)")
    parser.add_argument("--link", type=RATE, default=4e10, help="bytes per second out of one device (an assumption)")
    parser.add_argument("--check", action="store_true", help="hold the model against real processes on this machine")
    parser.add_argument("--repeats", type=COUNT, default=3)
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
