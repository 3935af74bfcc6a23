"""The worlds of the study of exact forgetting: a variant of SALMU-mini and a data seed, with its originals."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lavis.common.arguments import COUNT
from lavis.common.files import read_json, write_json, write_text
from lavis.common.forget_list import list_path, read_forget_list
from lavis.synthetic.mini.layout import PROXY_LISTS
from lavis.synthetic.mini.plan import PROXIES

# An interrupted run is begun again, so that its CPU time is all that it took.
FROM_THE_START = ("run.resume=false", "run.evaluate_after=false")
ROOT = Path(__file__).resolve().parents[1]
BASE = ROOT / "configs" / "clip" / "retrieval_salmu_mini.yaml"
SPLITS = ("train", "val", "test", "holdout_identity", "holdout_association")
# What a search reads in the place of each split: the proxies' rows, with all of Dr.
PROXY_FILES = {
    "train": (PROXIES[0], PROXIES[3], "retain_synth"),
    "val": ("val",),
    "test": ("val",),
    "holdout_identity": (PROXIES[1],),
    "holdout_association": (PROXIES[2],),
}


@dataclass(frozen=True)
class World:
    """A data set with its models below `root`."""

    root: Path
    variant: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.variant}-{self.seed}"

    @property
    def folder(self) -> Path:
        return self.root / self.name

    @property
    def dataset(self) -> str:
        return "salmu_mini" if self.variant == "plain" else f"salmu_mini_{self.variant}"

    @property
    def job(self) -> str:
        return f"{self.dataset}_retrieval"

    def config(self, proxies: bool = False) -> Path:
        """The experiment file, written if it is missing; with `proxies` that of a search, which forgets them."""
        path = self.folder / ("proxies.yaml" if proxies else "world.yaml")
        if not path.is_file():
            write_text(path, yaml.safe_dump(self._settings(proxies), sort_keys=False))
        return path

    def _settings(self, proxies: bool) -> dict[str, Any]:
        content = yaml.safe_load(BASE.read_text(encoding="utf-8"))
        content["datasets"] = {self.dataset: self._files(proxies)}
        run = content["run"]
        run |= {"df_size": None, "device": "cpu", "threads": 1, "output_dir": str(self.folder / "output")}
        run["seed"] = self.seed
        if self.variant == "web":  # three times as many pairs: as many steps as with half the epochs
            run["jobs"]["compromised"]["max_epoch"], run["jobs"]["retrained"]["max_epoch"] = 8, 9
        run["jobs"]["original"]["train_splits"] = ["train"] if self.variant == "plain" else ["train", "proxy"]
        return content

    def _files(self, proxies: bool) -> dict[str, Any]:
        annotations, lists = self.folder / "data" / "annotations", self.folder / "lists"
        named = PROXY_FILES if proxies else {split: (split,) for split in SPLITS}
        named = named if self.variant == "plain" else {**named, "proxy": PROXIES}
        storage = {split: {"storage": [f"{annotations / one}.json" for one in files]} for split, files in named.items()}
        return {
            "build_info": {"images": {"storage": str(self.folder / "data" / "images")}, "annotations": storage},
            "forget_list": str((lists / PROXY_LISTS if proxies else lists) / "image-{seed}.txt"),
            "generate_seed": self.seed,
        }

    def forget_size(self, proxies: bool = False) -> int:
        """The number of images to forget."""
        lists = self.folder / "lists"
        return len(read_forget_list(list_path(lists / PROXY_LISTS if proxies else lists, 42)))

    def run_folder(self, method: str, name: str, proxies: bool = False) -> Path:
        """Where a method's run of this name is."""
        size = str(self.forget_size(proxies))
        return self.folder / "output" / f"unlearn-{method}" / "clip" / self.job / size / name

    def original(self, reference: str = "compromised") -> Path:
        """The folder of a trained reference."""
        place = {"compromised": "original", "retrained": "retrained"}[reference]
        return trained_in(self.folder / "output" / place)

    def spent(self, name: str) -> float:
        """The CPU seconds of a command, by the name of its timing."""
        return read_json(self.folder / f"{name}.json", "timing")["cpu_seconds"]


def trained_in(place: Path) -> Path:
    """The folder of the run below `place`; deeper ones are evaluations on other data."""
    return min(place.rglob("results.json"), key=lambda path: len(path.parts)).parent


def area(model: Mapping[str, Any], of: str = "x") -> float:
    """The mean relearning area over the draws."""
    return statistics.mean(model["relearning"]["areas"][of])


def study_parser(description: str) -> argparse.ArgumentParser:
    """The arguments of every command of the study."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--work", type=Path, required=True, help="folder of the worlds and finished parts")
    parser.add_argument("--out", type=Path, required=True, help="the study's files, without .json and .md")
    parser.add_argument("--jobs", type=COUNT, default=1, help="processes at a time")
    return parser


def run_timed(words: list[str], marker: Path) -> dict[str, Any]:
    """Run a command of the project unless `marker` exists, and store its CPU seconds there. Exits if it fails.

    They are the command's own, with those of processes that it waited for, whatever else runs at the same time.
    """
    if marker.is_file():
        return read_json(marker, "timing")
    began = time.monotonic()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen([sys.executable, *words], cwd=ROOT, env=environment, stdout=said, stderr=said)  # noqa: S603
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            tail = said.read()[-6000:].decode(errors="replace")
            sys.exit(f"{' '.join(words)} failed ({process.returncode}):\n{tail}")
    spent = usage.ru_utime + usage.ru_stime
    facts = {"cpu_seconds": round(spent, 1), "seconds": round(time.monotonic() - began, 1), "command": words}
    write_json(marker, facts)
    return facts


def train_original(world: World, reference: str) -> dict[str, Any]:
    """Train a reference, with the data drawn if it is missing; returns what it took."""
    words = ["train.py", "--cfg-path", str(world.config()), "--options", *FROM_THE_START]
    return run_timed([*words, f"run.reference={reference}"], world.folder / f"{reference}.json")
