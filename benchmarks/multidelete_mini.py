"""MultiDelete on the miniatures in one table: the rows of a sweep's report, reduced to what the comparison needs.

    python bash/run.py configs/sweep/multidelete_mini.yaml --with-originals
    python benchmarks/multidelete_mini.py output/report-multidelete-mini/results.json \
        --out docs/results/multidelete_mini.json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.common import markdown, say  # noqa: E402
from lavis.common.errors import DataError  # noqa: E402
from lavis.common.files import write_json  # noqa: E402

SPLITS = ("test", "df", "dr")
# Score of guessing on test, in percent (data/README.md); for retrieval the mean of recall@1, 5 and 10 among 200.
CHANCE = {"vqa": 35.4, "nlvr": 50.0, "ve": 33.3, "retrieval": 100 * (1 + 5 + 10) / 3 / 200}
SCORES = {"retrieval": "r_mean"}  # others: acc


def rows_of(report: dict[str, Any]) -> list[dict[str, Any]]:
    """One flat row for every model of a report."""
    return [_row(row) for row in report["rows"] if not row.get("broken")]


def _row(row: dict[str, Any]) -> dict[str, Any]:
    kind = next((kind for kind in CHANCE if kind in row["task"].split("_")), None)
    if kind is None:
        raise DataError(f"task '{row['task']}' is not one of MultiDelete's miniatures, which are {', '.join(CHANCE)}")
    score, metrics = SCORES.get(kind, "acc"), row["metrics"]
    return {
        "model": row["backbone"],
        "task": row["task"],
        "name": row["name"],
        "df_size": row["df_size"],
        "seed": row["seed"],
        "score": score,
        "chance": round(CHANCE[kind], 1),
        **{split: metrics[f"{split}_{score}"] for split in SPLITS},
        "mia_auc": metrics["mia_auc"],
        "seconds": row["seconds"].get("train"),
        "commit": row["commit"],
        "command": " ".join(row["command"]),
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Rows of MultiDelete's miniatures from reports of sweeps.")
    parser.add_argument("reports", nargs="+", type=Path, help="results.json of a report")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    rows = [row for path in args.reports for row in rows_of(json.loads(path.read_text(encoding="utf-8")))]
    write_json(args.out, rows)
    say(table(rows))
    return 0


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: a line per model and task, "test / df / dr · membership AUC" of every method."""
    names = list(dict.fromkeys(row["name"] for row in rows))
    pairs = {(row["model"], row["task"]): row for row in rows}
    cells = {(row["model"], row["task"], row["name"]): _cell(row) for row in rows}
    lines = []
    for (model, task), first in pairs.items():
        found = [cells.get((model, task, name), "") for name in names]
        lines.append([model, task, first["score"], f"{first['chance']}", *found])
    return markdown(["model", "task", "score", "chance", *names], lines)


def _cell(row: dict[str, Any]) -> str:
    return " / ".join(f"{row[split]:.1f}" for split in SPLITS) + f" · {row['mia_auc']:.2f}"


if __name__ == "__main__":
    sys.exit(main())
