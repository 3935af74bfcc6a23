"""Made-up rows, galleries and hostile texts for tests of the report."""

from __future__ import annotations

import random
from typing import Any

from lavis.report.gallery import FORGOTTEN, SECRET, Answer, Gallery, Portrait

HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(2)'>",
    "</style></title><svg onload=alert(3)>",
    "&lt;b&gt; &amp; ]]> <!-- {{7*7}}",
    "\u202eevil\u0000\ud800 override",
    "=HYPERLINK(1)|a|b\nc",
)
COSINE = {"compromised": 0.9, "clean": 0.1, "retrained": 0.2, "vlul": 0.25, "erase": 0.1, "delete": -0.05}
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGA"
    "WjR9awAAAABJRU5ErkJggg=="
)


def row(name: str, seed: int = 42, **metrics: Any) -> dict[str, Any]:
    """A row as the report reads it from a run folder."""
    base = {"df_cosine": COSINE.get(name, 0.3), "dr_cosine": 0.6, "test_cosine": 0.5, "mia_auc": 0.7}
    base |= {"holdout_identity_cosine": 0.8, "holdout_association_cosine": 0.7}
    base |= {f"{split}_{side}_r1": 40.0 for split in ("df", "dr", "test") for side in ("txt", "img")}
    return {
        "name": name,
        "seed": seed,
        "method": None,
        "backbone": "clip",
        "task": "salmu_mini_retrieval",
        "df_size": 630,
        "df_seed": 42,
        "metrics": base | metrics,
        "counts": {"df": 630, "dr": 1740},
        "checkpoint": f"output/{name}/checkpoint_best.pth",
        "commit": "abc123",
        "command": ["python", "unlearn.py", "--unlearn_method", name],
        "seconds": {"train": 12.3},
        "folder": f"output/{name}/{seed}",
    }


def rows(*names: str, seeds: tuple[int, ...] = (42,)) -> list[dict[str, Any]]:
    names = names or tuple(COSINE)
    return [row(name, seed, df_txt_r1=40.0 + seed / 10) for name in names for seed in seeds]


def gallery(*captions: str) -> Gallery:
    """One portrait a caption: compromised says it, vlul does not."""
    portraits = []
    for caption in captions:
        said = Answer("compromised", caption, 0.9, SECRET, 0.9, 1)
        portraits.append(Portrait(PIXEL, caption, [said, Answer("vlul", "a red star", 0.4, FORGOTTEN, 0.1, 77)]))
    return Gallery(1234, portraits)


METHODS = (
    *("vlul", "erase", "delete", "cliperase", "maskdistill", "ft", "neggrad", "dtd", "shuffled"),
    *("generic", "simmin", "vlul-md", "vlul-md-multi", "cpd", "erase_hold"),
)
BENCHMARK = (
    *(
        "retfail_r1",
        "assoc_str",
        "acs",
        "idzsc",
        "core_assoc",
        "inter_id_sim",
        "intra_id_sim",
        "vis_id_int",
        "frag_sim",
    ),
    *("acs_holdout_identity", "acs_holdout_association", "gen_know_shape", "gen_know_colour", "linear_probe"),
    *("int8_retfail_mrr", "int8_assoc_str", "int8_gen_know", "retfail_mrr_others", "linear_probe_chance"),
    *(
        f"{name}{split}"
        for name in ("x_mrr", "pool_mrr")
        for split in ("", "_holdout_identity", "_holdout_association")
    ),
    *(f"{name}_{kind}" for name in ("x_mrr", "value_auc", "assoc_str") for kind in ("whole", "partial")),
)


def benchmark_rows(methods: tuple[str, ...] = METHODS, seeds: tuple[int, ...] = (42, 43, 44)) -> list[dict[str, Any]]:
    """Rows with every metric of SALMUBench, random but the same every time: few, or as many as a full sweep gives."""
    found = []
    for name in ("compromised", "clean", "retrained", *methods):
        draw = random.Random(name)
        level = {"compromised": 0.9, "clean": 0.02, "retrained": 0.1}.get(name, draw.random() ** 2)
        for seed in seeds:
            shake = random.Random(f"{name} {seed}")
            metrics = {key: abs(level + shake.gauss(0, 0.02)) for key in BENCHMARK}
            metrics |= {
                "gen_know": 0.86 - 0.4 * draw.random() ** 5,
                "retfail_mrr": 0.002 + level / 4 + shake.random() / 90,
            }
            for key in ("retfail_mrr", "assoc_str"):
                metrics |= {f"{key}_low": metrics[key] * 0.9, f"{key}_high": metrics[key] * 1.1}
            flat = {f"salmubench_{key}": round(value, 6) for key, value in metrics.items()}
            more = {
                "df_cosine": level,
                "relearn_auc": level,
                "relearn_auc_whole": level / 2,
                "mia_auc": 0.5 + level / 3,
            }
            found.append(row(name, seed, df_txt_r1=100 * level, **flat, **more))
    return found
