"""A whole unlearning run, from 512-pixel JPEGs to recall: `unlearn.py` compared with a plain script.

    OMP_NUM_THREADS=1 python benchmarks/end_to_end.py --out benchmarks/results/end_to_end.json

Both start from the same weights and the same files, run vlul for the same number of steps of 16 + 16 pairs, write a
checkpoint after each epoch and end with recall@1 on test, Df and Dr. The plain script decodes every image in every
epoch, runs the frozen teacher on every batch, Df and Dr one after the other, captions at 77 positions, and ranks by
sorting an n × n matrix. Ours is the command that a user types, start-up included, with decoded images cached in
memory. Each run is a process of its own; the two alternate.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from torchvision import transforms  # noqa: E402

from benchmarks import unlearn_step  # noqa: E402
from benchmarks.common import alternate, child, finish, say, spread, where  # noqa: E402
from benchmarks.prepared import CONFIG, drawn_original  # noqa: E402
from benchmarks.world import options  # noqa: E402
from lavis.common.arguments import COUNT  # noqa: E402

WAYS = ("plain", "ours", "ours-bf16")
HALF = 16


def main() -> None:
    args = _arguments()
    if args.child:
        say(json.dumps(measure(args)))
        return
    with drawn_original(args.rows, args.model, test=args.rows) as folder:
        runs = alternate(WAYS, args.repeats, lambda way: _child(args, folder, way))
    result: dict[str, Any] = {"what": __doc__.splitlines()[0], "model": args.model, "pairs_of_df": args.rows}
    result |= {"epochs": args.epochs, "repeats": args.repeats, "device": args.device}
    result |= {way: {key: spread([run[key] for run in part]) for key in part[0]} for way, part in runs.items()}
    for way in WAYS[1:]:
        ratios = {
            key: result[way][key]["median"] / result["plain"][key]["median"] for key in ("wall", "cpu", "peak_mib")
        }
        result[way]["over_plain"] = ratios
    finish(result | where(), args.out)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Wall and CPU seconds of one whole run, its peak memory, and the recall that it ends with."""
    began = time.perf_counter()
    found = plain(args) if args.child == "plain" else ours(args)
    kind = resource.RUSAGE_SELF if args.child == "plain" else resource.RUSAGE_CHILDREN
    used = resource.getrusage(kind)
    seconds = time.perf_counter() - began
    return {"wall": seconds, "cpu": used.ru_utime + used.ru_stime, "peak_mib": used.ru_maxrss / 1024} | found


def ours(args: argparse.Namespace) -> dict[str, float]:
    """The command of the README, in a separate process."""
    folder = Path(args.folder)
    output = folder / f"output-{args.child}"
    command = [sys.executable, str(ROOT / "unlearn.py"), "--unlearn_method", "vlul", "--backbone", "clip"]
    command += ["--task", "salmu_retrieval", "--df_size", str(args.rows), "--cfg-path", str(CONFIG)]
    changes = [*options(folder), f"model.model_type={args.model}", f"run.device={args.device}"]
    changes += [f"run.output_dir={output}", f"run.resume_ckpt_path={folder}/original.pth", "run.resume=false"]
    changes += [f"run.max_epoch={args.epochs}", f"run.batch_size_train={2 * HALF}", f"run.batch_size_eval={2 * HALF}"]
    changes += ["run.feature_cache=null"]  # else a repeat would find the embeddings of the previous one
    changes += [f"run.amp={args.child == 'ours-bf16'}", "run.amp_dtype=bf16", "run.num_workers=0", "run.dr_max_ratio=1"]
    changes += ["datasets.salmu.vis_processor.train.name=clip_image_eval", "datasets.salmu.image_cache=memory"]
    done = subprocess.run([*command, "--options", *changes], capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        sys.exit(f"unlearn.py failed ({done.returncode}):\n{done.stderr}")
    results = next(output.rglob("results.json"))
    metrics = json.loads(results.read_text(encoding="utf-8"))["metrics"]
    records = [json.loads(line) for line in (results.parent / "log.txt").read_text(encoding="utf-8").splitlines()]
    waiting = [record["train_waiting"] for record in records if "train_waiting" in record]
    found = {f"{split}_txt_r1": metrics[f"{split}_txt_r1"] for split in ("test", "df", "dr")}
    return found | {"waiting_first_epoch": waiting[0], "waiting_later_epochs": statistics.mean(waiting[1:] or waiting)}


def plain(args: argparse.Namespace) -> dict[str, float]:
    """The plain script."""
    import open_clip

    folder = Path(args.folder)
    clip = open_clip.create_model(args.model, device=args.device)
    state = torch.load(folder / "original.pth", weights_only=True)["state_dict"]
    clip.load_state_dict(state)
    mean, std = clip.visual.image_mean, clip.visual.image_std
    model = SimpleNamespace(clip=clip, normalise=transforms.Normalize(mean, std))
    runner = SimpleNamespace(model=model, run=SimpleNamespace(init_lr=1e-7, weight_decay=0.001))
    step = unlearn_step.plain_step(runner, SimpleNamespace(model=args.model, method="vlul"))
    rows = _rows(folder)
    draws = np.random.default_rng(0)
    for epoch in range(args.epochs):
        orders = {name: draws.permutation(len(rows[name])) for name in ("df", "dr")}
        for start in range(0, args.rows, HALF):
            picked = {name: [rows[name][i] for i in orders[name][start : start + HALF]] for name in orders}
            sets = {name: _loaded(folder, part, args.device) for name, part in picked.items()}
            step(SimpleNamespace(sets=sets, permutation=torch.from_numpy(draws.permutation(HALF))))
        torch.save({"model": clip.state_dict()}, folder / f"plain-{epoch}.pth")
    return {f"{split}_txt_r1": _recall(model, folder, part, args) for split, part in rows.items()}


def _rows(folder: Path) -> dict[str, list[dict[str, Any]]]:
    read = {split: json.loads((folder / "annotations" / f"{split}.json").read_text()) for split in ("train", "test")}
    forget = set((folder / "image-42.txt").read_text().split())
    parts = {"df": [r for r in read["train"] if r["image"] in forget]}
    return parts | {"dr": [r for r in read["train"] if r["image"] not in forget], "test": read["test"]}


def _loaded(folder: Path, rows: list[dict[str, Any]], device: str) -> dict[str, Any]:
    """Decoded, resized and cropped images (n, 3, 224, 224) in 0..1, and captions."""
    resize = transforms.Resize(224, interpolation=transforms.InterpolationMode.BICUBIC)
    read = transforms.Compose([resize, transforms.CenterCrop(224), transforms.ToTensor()])
    images = [read(Image.open(folder / "images" / row["image"]).convert("RGB")) for row in rows]
    return {"images": torch.stack(images).to(device), "captions": [row["caption"][0] for row in rows]}


@torch.no_grad()
def _recall(model: Any, folder: Path, rows: list[dict[str, Any]], args: argparse.Namespace) -> float:
    """Text recall@1 in percent, by sorting the whole matrix."""
    import open_clip

    embed = unlearn_step.plain_embedder(model, open_clip.get_tokenizer(args.model))
    size = 2 * HALF
    parts = [
        embed(model.clip.eval(), _loaded(folder, rows[i : i + size], args.device)) for i in range(0, len(rows), size)
    ]
    image, text = (torch.cat(part) for part in zip(*parts, strict=True))
    order = torch.argsort(image @ text.T, dim=1, descending=True)
    return 100 * float((order[:, 0].cpu() == torch.arange(len(rows))).double().mean())


def _child(args: argparse.Namespace, folder: str, way: str) -> dict[str, Any]:
    given = {"child": way, "folder": folder, "rows": args.rows, "epochs": args.epochs}
    given |= {"device": args.device, "model": args.model}
    return child(__file__, *(part for key, value in given.items() for part in (f"--{key}", value)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--rows", type=COUNT, default=64, help="pairs of Df, of Dr and of test; a multiple of 16")
    parser.add_argument("--epochs", type=COUNT, default=3)
    parser.add_argument("--repeats", type=COUNT, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
