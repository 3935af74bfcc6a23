"""All attacks on all methods of a sweep: runs the sweep, audits each run, and writes a JSON file and a page.

    python benchmarks/audit_methods.py configs/sweep/salmu_mini_all.yaml --out docs/results/audit_salmu_mini

The models retrained with the other seeds are shadow models of each audit, and the method's other seeds its siblings.
Finished runs and finished attacks are not repeated, so that the same command goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.common import markdown, number, say, where  # noqa: E402
from lavis.common.arguments import COUNT  # noqa: E402
from lavis.common.checkpoint import BEST  # noqa: E402
from lavis.common.files import read_json, write_json, write_text  # noqa: E402
from lavis.common.registry import registry  # noqa: E402
from lavis.report.audit_page import FAR  # noqa: E402
from lavis.sweeps.schema import load_sweep  # noqa: E402

SHOWN = ("share", "low", "high", "attacked", "floor", "original", "p", "p_holm", "variant", "problem")
BEGIN, END = "<!-- tables: begin -->\n", "<!-- tables: end -->\n"
LEVEL = 0.05
REFERENCE = "reference"  # clean has no verdict of its own
Row = dict[str, Any]


def audited(row: Row, rows: Sequence[Row], args: argparse.Namespace) -> Row:
    """One run's row with its audit; the audit goes on from its finished parts."""
    folder = Path(row["folder"])
    shadows = [str(Path(one["folder"]) / BEST) for one in rows if one["name"] == "retrained"]
    siblings = [str(Path(one["folder"]) / BEST) for one in rows if one["name"] == row["name"] and one is not row]
    words = [str(folder), "--budget", args.budget, "--attacks", ",".join(args.attacks), "--shadows", *shadows]
    words += ["--options", "run.threads=1", f"run.audit.siblings=[{','.join(siblings)}]"]
    began = time.monotonic()
    command = [sys.executable, "-m", "lavis.cli.main", "audit", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        sys.exit(f"the audit of {folder} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
    say(f"{row['name']}, seed {row['seed']}: {time.monotonic() - began:.0f} s")
    content = read_json(folder / "audit" / "audit.json", "audit")
    attacks = {name: {key: one[key] for key in SHOWN} for name, one in content["attacks"].items()}
    kept = {key: content[key] for key in ("floor", "people", "pairs", "plain", "strongest", "tests", "notes")}
    verdict = {key: row["derived"].get(key) for key in ("verdict", "verdict_reasons")}
    return {"name": row["name"], "seed": row["seed"], **verdict, **kept, "attacks": attacks}


def by_name(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["name"], []).append(row)
    return found


def mean_share(rows: Sequence[Row], attack: str) -> float | None:
    """An attack's share, the mean over the seeds that have one; None if none has."""
    values = [row["attacks"][attack]["share"] for row in rows]
    known = [value for value in values if value is not None and not math.isnan(value)]
    return statistics.mean(known) if known else None


def strongest(rows: Sequence[Row]) -> tuple[str, float]:
    """The attack with the highest mean share, and that share."""
    shares = {name: share for name in rows[0]["attacks"] if (share := mean_share(rows, name)) is not None}
    best = max(shares, key=lambda name: shares[name])
    return best, shares[best]


def judged(rows: Sequence[Row]) -> dict[str, Any]:
    """What the old rules and the new tests say of a method, and whether they disagree.

    They disagree if the rules find no failure and a test or an attack finds what is left, or the other way round.
    """
    best, share = strongest(rows)
    tests = {
        name: [row["tests"][name]["p"] for row in rows if row["tests"].get(name)] for name in ("control", "exchange")
    }
    found = any(p is not None and p < LEVEL for values in tests.values() for p in values)
    rules = sorted({row["verdict"] or REFERENCE for row in rows})
    fails = not {REFERENCE, "none"} >= {*rules}
    return {
        "strongest": best,
        "share": share,
        "rules": rules,
        "tests": tests,
        "differs": fails != (found or share > FAR),
    }


def pages(content: Mapping[str, Any]) -> str:
    """The page's tables in Markdown."""
    methods = by_name(content["rows"])
    lines = []
    for name, rows in methods.items():
        one = judged(rows)
        values = [row["attacks"][one["strongest"]]["share"] for row in rows]
        tests = [", ".join(number(p) for p in one["tests"][test]) or "–" for test in ("control", "exchange")]
        spread = f"{number(one['share'], 2)} ({', '.join(number(value, 2) for value in values)})"
        differs = "yes" if one["differs"] else "no"
        lines.append([name, f"`{one['strongest']}`", spread, *tests, ", ".join(one["rules"]), differs])
    head = [
        "method",
        "strongest attack",
        "its share (each seed)",
        "control test, p",
        "exchange test, p",
        "rules",
        "differ",
    ]
    shares = [
        [f"`{attack}`", *(number(mean_share(rows, attack), 2) for rows in methods.values())]
        for attack in content["attacks"]
    ]
    return f"{markdown(head, lines)}\n{markdown(['attack', *methods], shares)}"


def main(argv: Sequence[str] | None = None) -> int:
    registry.discover()
    parser = argparse.ArgumentParser(description="All attacks on all methods of a sweep.")
    parser.add_argument("sweep")
    parser.add_argument("--budget", default="quick", help="settings of the attacks; each has those of the next budget")
    parser.add_argument("--attacks", nargs="+", default=sorted(registry.names("attack")))
    parser.add_argument("--jobs", type=COUNT, default=2)
    parser.add_argument("--out", type=Path, required=True, help="the files' name, without .json and .md")
    parser.add_argument("--no-sweep", action="store_true", help="audit the runs that are there")
    parser.add_argument("--page-only", action="store_true", help="write the page of a finished JSON file again")
    args = parser.parse_args(argv)
    if args.page_only:
        finish(read_json(args.out.with_suffix(".json"), "audits"), args.out)
        return 0
    if not args.no_sweep:
        subprocess.run([sys.executable, "bash/run.py", args.sweep, "--with-originals"], cwd=ROOT, check=True)  # noqa: S603
    report = read_json(Path(load_sweep(args.sweep).report_dir) / "results.json", "report")
    rows = [row for row in report["rows"] if row["name"] not in ("compromised", "retrained")]
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        found = list(pool.map(lambda row: audited(row, report["rows"], args), rows))
    content = {"sweep": args.sweep, "budget": args.budget, "attacks": args.attacks, "rows": found, "where": where()}
    finish(content, args.out)
    return 0


def finish(content: Mapping[str, Any], out: Path) -> None:
    """Write the JSON file, and the page's tables between their marks; what is written by hand around them stays."""
    methods = {name: judged(several) for name, several in by_name(content["rows"]).items()}
    write_json(out.with_suffix(".json"), {**content, "methods": methods})
    page = out.with_suffix(".md")
    before, _, rest = page.read_text("utf-8").partition(BEGIN) if page.is_file() else ("# Audits\n\n", "", END)
    write_text(page, f"{before}{BEGIN}{pages(content)}{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    sys.exit(main())
