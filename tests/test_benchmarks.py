"""The plain scripts that benchmarks compare with keep up with the library: they run on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import open_clip

from benchmarks import end_to_end, unlearn_step
from benchmarks.world import write_world

ARCH = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 224, "layers": 1, "width": 16, "head_width": 8, "patch_size": 112},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
}


def test_the_plain_run_trains_and_ends_with_recall(tmp_path: Path) -> None:
    arch = tmp_path / "benchmark_tiny.json"
    arch.write_text(json.dumps(ARCH))
    open_clip.add_model_config(arch)
    write_world(tmp_path, forget=16, retain=16, test=4, size=32)
    unlearn_step._save_original(tmp_path, arch.stem)
    recall = end_to_end.plain(SimpleNamespace(folder=tmp_path, model=arch.stem, device="cpu", rows=16, epochs=1))
    assert recall.keys() == {"test_txt_r1", "df_txt_r1", "dr_txt_r1"}
    assert (tmp_path / "plain-0.pth").is_file()
