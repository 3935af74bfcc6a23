"""One unlearning step of ViT-B-16 at 224 px, 16 + 16 pairs: ours and a plain loop, CPU seconds and peak memory.

    OMP_NUM_THREADS=1 python benchmarks/unlearn_step.py --out benchmarks/results/unlearn_step_shipped.json
    python benchmarks/unlearn_step.py --device cuda --half 16 --out benchmarks/results/unlearn_step_gpu.json
    python benchmarks/unlearn_step.py --flops --out benchmarks/results/unlearn_step_flops.json

The configuration is the shipped one, configs/clip/retrieval_salmu.yaml, but for the data, precision and device. The
plain loop does what research code usually does: it runs the frozen teacher on every batch, passes forget and retain
batches through the towers one after the other, pads captions to all 77 positions, and uses single precision and torch's
default AdamW. Ours is the project's own loop, trainer, feed and teacher. Both take the same weights and the same
batches, so the losses of the first step must agree. Each measurement is a separate process.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from open_clip.transformer import ResidualAttentionBlock  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from benchmarks.common import alternate, child, finish, peak_of, reset_peak, say, spread, wait, where  # noqa: E402
from benchmarks.prepared import drawn_original, prepared  # noqa: E402
from benchmarks.world import options  # noqa: E402
from lavis.common.arguments import COUNT  # noqa: E402
from lavis.common.memory import own_large_blocks  # noqa: E402
from lavis.towers.attention import FirstTokenBlock, LastTokensBlock, SelfAttention  # noqa: E402
from lavis.towers.recompute import RecomputedMlp  # noqa: E402

METHODS = ("vlul", "erase", "delete")
WAYS = ("plain", "ours", "ours-bf16")
TRIED = ("ours-channels-last", "ours-compiled")  # not adopted; --ways measures them


def main() -> None:
    args = _arguments()
    if args.child:
        say(json.dumps(measure(args)))
        return
    with drawn_original(args.rows, args.model) as folder:
        result: dict[str, Any] = {"what": __doc__.splitlines()[0], "half_batch": args.half, "model": args.model}
        result |= {"device": args.device, "steps_each": args.steps, "repeats": args.repeats, "methods": {}}
        if args.flops:
            result["methods"] = {m: {way: _child(args, folder, m, way) for way in WAYS[:2]} for m in args.methods}
            finish(result | where(), args.out)
            return
        for method in args.methods:
            runs = alternate(args.ways, args.repeats, lambda way, method=method: _child(args, folder, method, way))
            result["methods"][method] = summary(runs)
        result["matrix_product"] = child(__file__, "--child", "product", "--device", args.device)
        finish(result | where(), args.out)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """One way in this process: seconds of each step after the first, the peak during them, the first step's loss."""
    if args.child == "product":
        return product_rate(args.device)
    runner, batches, teacher_seconds = _prepared(args)
    step = plain_step(runner, args) if args.child == "plain" else own_step(runner)
    if args.flops:
        return counted(lambda: step(batches[0]))
    first = step(batches[0])
    reset_peak(args.device)
    wall, cpu = [], []
    for batch in batches[1:]:
        began, spent = time.perf_counter(), time.process_time()
        step(batch)
        wait(args.device)
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - spent)
    found = {"wall": statistics.median(wall), "cpu": statistics.median(cpu), "loss": first}
    return found | {"peak_mib": peak_of(args.device), "teacher_seconds": teacher_seconds}


def counted(step: Callable[[], float]) -> dict[str, Any]:
    """Operations of one step's products and convolutions, by torch's counter (which ignores fused CPU attention)."""
    with FlopCounterMode(display=False) as counter:
        loss = step()
    by_kind = {str(kind): number for kind, number in counter.get_flop_counts()["Global"].items()}
    return {"gflop": counter.get_total_flops() / 1e9, "by_kind": by_kind, "loss": loss}


def own_step(runner: Any) -> Callable[[Any], float]:
    """The project's step, forward to optimiser."""
    loop = runner.loop
    runner.model.train()

    def step(batch: Any) -> float:
        batches: Iterator[Any] = iter([batch])
        before = loop.meter.state()
        loop.meter.reset()
        loop.step(batches, 0, 0)
        loss = float(loop.meter.means()["loss"])
        loop.meter.restore(before)
        return loss

    return step


def plain_step(runner: Any, args: argparse.Namespace) -> Callable[[Any], float]:
    """The plain loop on open_clip's own model: separate passes, live teacher, 77 positions, default AdamW."""
    import open_clip

    student = runner.model.clip
    for module in student.modules():
        if isinstance(module, RecomputedMlp):
            module.__class__ = torch.nn.Sequential  # open_clip's own, which stores every activation
        elif isinstance(module, SelfAttention):
            module.__class__ = torch.nn.MultiheadAttention
        elif isinstance(module, FirstTokenBlock | LastTokensBlock):
            module.__class__ = ResidualAttentionBlock
    student.requires_grad_(True).train()
    teacher = copy.deepcopy(student).requires_grad_(False).eval()
    tokenizer = open_clip.get_tokenizer(args.model)
    optimizer = torch.optim.AdamW(student.parameters(), lr=runner.run.init_lr, weight_decay=runner.run.weight_decay)
    embed = plain_embedder(runner.model, tokenizer)

    def step(batch: Any) -> float:
        forget, retain = (embed(student, batch.sets[side]) for side in ("df", "dr"))
        with torch.no_grad():
            old_retain = embed(teacher, batch.sets["dr"])
            old_forget = None if args.method == "delete" else embed(teacher, batch.sets["df"])
        loss = plain_loss(args.method, forget, retain, old_forget, old_retain, batch.permutation)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return step


def plain_embedder(model: Any, tokenizer: Any) -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    """Gives the embeddings of a set, (open_clip model, batch) to (image, text); captions have 77 positions."""

    def embed(clip: Any, side: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        images = model.normalise(side["images"])
        tokens = tokenizer(side["captions"]).to(images.device)
        return clip.encode_image(images, normalize=True), clip.encode_text(tokens, normalize=True)

    return embed


def plain_loss(method: str, forget: Any, retain: Any, old_forget: Any, old_retain: Any, order: Any) -> torch.Tensor:
    """The three methods' losses as formulas (SALMU's forms, every weight 1), from (image, text) features."""

    def both(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(a, b) + F.mse_loss(a.T, b.T)

    forget_s, retain_s, old_s = (i @ t.T for i, t in (forget, retain, old_retain))
    towers = F.mse_loss(retain[0], old_retain[0]) + F.mse_loss(retain[1], old_retain[1])
    if method == "vlul":
        joint, old_joint = (F.normalize((i + t) / 2, dim=-1) for i, t in (retain, old_retain))
        return both(forget_s, old_forget[0] @ old_forget[1][order].T) + F.mse_loss(joint, old_joint) + towers
    loss = both(forget_s, torch.zeros_like(forget_s)) + both(retain_s, old_s)
    return loss + towers if method == "erase" else loss


def _prepared(args: argparse.Namespace) -> tuple[Any, list[Any], float]:
    """The project's runner on the drawn data, its first batches, and how long the stored teacher took."""
    folder, plain = Path(args.folder), args.child == "plain"
    if not plain:
        own_large_blocks()
    keys = _options(args, folder)
    found = prepared(folder, args.method, args.rows, keys, change=partial(_changed, way=args.child), teacher=not plain)
    source = iter(found.runner.feed.batches(0, 0))
    return found.runner, [next(source) for _ in range(args.steps + 1)], found.teacher_seconds


def _changed(model: Any, way: str) -> None:
    if way == "ours-channels-last":
        model.to(memory_format=torch.channels_last)
    if way == "ours-compiled":
        for tower in (model.clip.visual.transformer, model.clip.transformer):
            for block in tower.resblocks:
                block.compile()


def _options(args: argparse.Namespace, folder: Path) -> list[str]:
    return [
        *options(folder),
        f"model.model_type={args.model}",
        f"run.device={args.device}",
        f"run.output_dir={folder}/output-{args.child}",
        f"run.batch_size_train={2 * args.half}",
        f"run.amp={args.child == 'ours-bf16'}",
        "run.amp_dtype=bf16",
        "run.num_workers=0",
    ]


def product_rate(device: str) -> dict[str, Any]:
    """The machine's limits: matrix products of 1024 × 3072 by 3072 × 1024 (GPU: 8192²), in GFLOP/s, and a copy."""
    found: dict[str, Any] = {}
    shape = (8192, 8192, 8192) if device.startswith("cuda") else (1024, 3072, 1024)
    for kind in (torch.float32, torch.bfloat16):
        a, b = torch.randn(shape[0], shape[1]), torch.randn(shape[1], shape[2])
        a, b = a.to(device, kind), b.to(device, kind)
        seconds = _fastest(lambda a=a, b=b: a @ b, device)
        found[f"{str(kind).removeprefix('torch.')}_gflops"] = 2 * shape[0] * shape[1] * shape[2] / seconds / 1e9
    source = torch.empty(64 * 2**20, dtype=torch.float32, device=device).normal_()
    target = torch.empty_like(source)
    found["copy_gb_per_s"] = 2 * source.numel() * 4 / _fastest(lambda: target.copy_(source), device) / 1e9
    return found


def _fastest(work: Callable[[], Any], device: str, times: int = 20) -> float:
    found = []
    for _ in range(times):
        wait(device)
        began = time.perf_counter()
        work()
        wait(device)
        found.append(time.perf_counter() - began)
    return min(found)


def summary(runs: dict[str, list[dict]]) -> dict[str, Any]:
    """Medians of every way, and ours over plain."""
    found: dict[str, Any] = {
        way: {key: spread([run[key] for run in part]) for key in ("cpu", "wall", "peak_mib", "loss", "teacher_seconds")}
        for way, part in runs.items()
    }
    plain = next(iter(found.values()))
    for way in list(found)[1:]:
        found[way]["over_plain"] = {
            key: found[way][key]["median"] / plain[key]["median"] for key in ("cpu", "wall", "peak_mib")
        }
        found[way]["loss_difference"] = abs(found[way]["loss"]["median"] - plain["loss"]["median"])
    return found


def _child(args: argparse.Namespace, folder: str, method: str, way: str) -> dict[str, Any]:
    given = {"child": way, "method": method, "folder": folder, "steps": args.steps, "rows": args.rows}
    given |= {"half": args.half, "device": args.device, "model": args.model}
    words = [part for key, value in given.items() for part in (f"--{key}", value)]
    return child(__file__, *words, *(["--flops"] if args.flops else []))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=[*WAYS, *TRIED], help="the first is the base")
    parser.add_argument("--model", default="ViT-B-16")
    parser.add_argument("--half", type=COUNT, default=16, help="pairs of Df, and of Dr, in a step")
    parser.add_argument("--rows", type=COUNT, default=64, help="images drawn for Df, and for Dr")
    parser.add_argument("--steps", type=COUNT, default=2, help="timed steps of a process, after one that is not")
    parser.add_argument("--repeats", type=COUNT, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--flops", action="store_true", help="count the operations of one step instead of timing it")
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--child", choices=[*WAYS, *TRIED, "product"], help=argparse.SUPPRESS)
    parser.add_argument("--method", choices=METHODS, default="vlul", help=argparse.SUPPRESS)
    parser.add_argument("--folder", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
