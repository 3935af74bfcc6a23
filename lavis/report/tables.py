"""The tables of metrics: as CSV, Markdown and HTML."""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Iterator, Sequence

from lavis.evaluation.metric import DIRECTIONS, Column
from lavis.report.cells import best_methods, cell
from lavis.report.columns import Table, columns_of, missing_of
from lavis.report.markup import Safe, clean, el, join
from lavis.report.numbers import Row, mean_of, named, names_of, shown
from lavis.report.palette import REFERENCES, Look, looks
from lavis.report.published import SOURCE, published
from lavis.report.svg import key_svg

FACTS = ("name", "seed", "backbone", "task", "df_size", "df_seed", "commit", "checkpoint", "folder", "broken")
PASSED = "none of the three"


def to_csv(rows: Sequence[Row]) -> str:
    """One line a row: who, every metric, what is derived, and where it comes from.

    A metric that was not measured is an empty cell; one without a finite value is "nan".
    """
    metrics = list(dict.fromkeys(key for row in rows for key in row["metrics"]))
    derived = list(dict.fromkeys(key for row in rows for key in row.get("derived", {})))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([_plain_cell(key) for key in (*FACTS, *metrics, *derived)])
    for row in rows:
        values = ["nan" if row["metrics"].get(key, "") is None else row["metrics"].get(key) for key in metrics]
        values += [row.get("derived", {}).get(key) for key in derived]
        writer.writerow([_plain_cell(value) for value in (*(row.get(key) for key in FACTS), *values)])
    return buffer.getvalue()


def _plain_cell(value: object) -> object:
    """Text that a spreadsheet would take for a formula gets an apostrophe in front."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def html_table(table: Table, rows: Sequence[Row]) -> Safe:
    """A table of one setting; in each column the best method is set in bold."""
    columns, style = columns_of(table, rows), looks(names_of(rows))
    best = {column.key: best_methods(rows, column) for column in columns}
    body = []
    for name in names_of(rows):
        own = named(rows, name)
        cells = [cell(own, column).html(name in best[column.key]) for column in columns]
        body.append(el("tr", row_head(own, style[name]), *cells, class_="reference" if name in REFERENCES else None))
    extra = [*_published(rows, columns)] if table.whole else []
    head = el("tr", el("th", "model", scope="col"), *(_column_head(column) for column in columns))
    inner = el("table", el("thead", head), el("tbody", *body, *extra), class_="metrics")
    return el("div", inner, class_="scroll", tabindex="0", role="region", aria_label=table.title)


def _column_head(column: Column) -> Safe:
    arrow = el("span", column.direction, class_="arrow", title=DIRECTIONS[column.direction])
    return el("th", column.title, "\u00a0", arrow, scope="col", title=column.help)


def row_head(rows: Sequence[Row], look: Look) -> Safe:
    """A model's name with its marker; below it the seeds, each a link to how that row was made."""
    links: list[object] = [el("a", str(row.get("seed")), href=f"#{anchor(row)}") for row in rows]
    spaced = [part for link in links for part in (" ", link)]
    count = f"{len(rows)} seeds:" if len(rows) > 1 else "1 seed:"
    return el("th", key_svg(look), rows[0]["name"], el("small", count, *spaced), scope="row")


def anchor(row: Row) -> str:
    """The name of the place on the page that says how a row was made; made of the row alone."""
    facts = [str(row.get(key)) for key in ("name", "seed", "backbone", "task", "df_size", "folder")]
    return f"run-{zlib.crc32(clean(chr(0).join(facts)).encode()):08x}"


def _published(rows: Sequence[Row], columns: Sequence[Column]) -> Iterator[Safe]:
    """What the paper gives, as rows of their own below ours."""
    found = published(rows)
    if found:
        yield el("tr", el("th", f"Published: {SOURCE}", scope="rowgroup", colspan=len(columns) + 1), class_="group")
    for name, values in found.items():
        cells = [el("td", values.get(column.key, "–")) for column in columns]
        yield el("tr", el("th", name, el("small", "published"), scope="row"), *cells, class_="published")


def _chance(rows: Sequence[Row], column: Column) -> str:
    """What guessing would give, where that was written down."""
    value = mean_of(rows, f"{column.key}_chance")
    return "" if value is None else f"; guessing gives {shown(value, column.decimals)}"


def legend(table: Table, rows: Sequence[Row]) -> Safe:
    """What the columns mean, and which ones no row has."""
    columns, missing = columns_of(table, rows), missing_of(table, rows)
    terms = [
        part for c in columns for part in (el("dt", c.title, " ", c.direction), el("dd", c.help, _chance(rows, c)))
    ]
    left_out = f"Not measured in any row: {', '.join(column.title for column in missing)}." if missing else ""
    return join([el("dl", *terms, class_="legend"), el("p", left_out, class_="muted") if left_out else None])
