"""Small stubs for train.py, unlearn.py and evaluate.py that only write the files of a run."""

from __future__ import annotations

import sys
from pathlib import Path

from lavis.sweeps.jobs import Job

JOB = """
import json, pathlib, signal, sys, time
folder, mode = pathlib.Path(sys.argv[1]), sys.argv[2]
folder.mkdir(parents=True, exist_ok=True)
with (folder / "starts").open("a") as stream:
    stream.write("x")
if mode == "fail":
    sys.stderr.write("\\x1b[31mboom in line 7\\x1b[0m\\n")
    sys.exit(3)
if mode == "hang":
    def stop(*_):
        (folder / "checkpoint").write_text("saved")
        sys.exit(143)
    signal.signal(signal.SIGTERM, stop)
    (folder / "ready").write_text("")
    time.sleep(60)
if mode == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (folder / "ready").write_text("")
    time.sleep(60)
if mode == "env":
    import os
    (folder / "env.json").write_text(json.dumps(dict(os.environ)))
if mode != "silent":
    (folder / "results.json").write_text(json.dumps({"finished": True, "command": sys.argv}))
"""

ENTRY = """
import json, pathlib, sys
words = sys.argv[1:]
flags = {words[i][2:]: words[i + 1] for i in range(0, len(words) - 1) if words[i].startswith("--")}
options = dict(word.split("=", 1) for word in words if "=" in word)
script, output = pathlib.Path(sys.argv[0]).name, options["run.output_dir"]
task, seed = "salmu_tiny_retrieval", int(options.get("run.seed", 42))
size = int(options.get("run.df_size", flags.get("df_size", 60)))
method, name = flags.get("unlearn_method"), options.get("run.reference", "compromised")
if script == "unlearn.py":
    folder = pathlib.Path(output, f"unlearn-{method}", "clip", task, str(size))
elif script == "train.py":
    room = {"compromised": "original"}.get(name, name)
    folder = pathlib.Path(output, room, "clip", task, *([str(size)] if name == "retrained" else []))
else:
    assert pathlib.Path(options["run.checkpoint"]).read_text().startswith("weights")
    folder = pathlib.Path(output, "evaluate", "clip", task, name)
folder /= options.get("run.subfolder", "")
if options.get("run.seed_folder") == "true":
    folder /= f"seed-{seed}"
if method == "delete" and options.get("run.max_epoch") == "99":
    sys.exit("no such luck <b>&")
folder.mkdir(parents=True, exist_ok=True)
(folder / "checkpoint_0.pth").write_text("weights")
(folder / "checkpoint_best.pth").write_text("weights")
cosine = {"compromised": 0.9, "clean": 0.1, "retrained": 0.2}.get(method or name, 0.3)
splits = ("df", "dr", "test", "holdout_identity", "holdout_association")
metrics = {f"{split}_cosine": cosine if split == "df" else 0.8 for split in splits}
metrics |= {f"{split}_{side}_r1": 50.0 for split in ("df", "dr", "test") for side in ("txt", "img")} | {"mia_auc": 0.7}
lines = [{"epoch": e, "train_loss": 1.0 / (e + 1), "train_md": 0.5 / (e + 1), "train_lr": 1e-3} for e in range(3)]
(folder / "log.txt").write_text("".join(json.dumps(line) + "\\n" for line in lines))
results = dict(schema=1, name=method or name, method=method, backbone="clip", task=task, df_size=size, df_seed=42,
    seed=seed, metrics=metrics, counts={"df": size}, commit="abc", config={},
    checkpoint=str(folder / "checkpoint_best.pth"),
    command=["python", *sys.argv], seconds={"train": 1.0}, finished=True)
(folder / "results.json").write_text(json.dumps(results))
"""


def write_job(folder: Path, name: str, mode: str = "ok") -> Job:
    """A job whose script lies in `folder` and whose run folder is folder/name."""
    script = folder / "job.py"
    script.write_text(JOB, encoding="utf-8")
    argv = (sys.executable, str(script), str(folder / name), mode)
    return Job(name, argv, folder / name, folder / "logs" / f"{name}.log")


def write_entry_scripts(folder: Path) -> Path:
    """train.py, unlearn.py and evaluate.py that finish at once."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("train.py", "unlearn.py", "evaluate.py"):
        (folder / name).write_text(ENTRY, encoding="utf-8")
    return folder
