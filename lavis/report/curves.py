"""The report's plots of lines: losses over epochs, and how what was forgotten comes back when it is trained again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from lavis.report.labels import spread_out
from lavis.report.markup import Safe
from lavis.report.palette import INK, METHOD_COLOURS, METHOD_DASHES, REFERENCES, Look, looks
from lavis.report.svg import Frame, el, figure_svg, label, line, marker, nice_ticks, text_width

LOSSES, RETURN = (340.0, 215.0), (480.0, 400.0)
MANY = 8  # models from which the single seeds are left out
Points = list[tuple[float, float]]
Series = Mapping[str, Points]


def mean_points(runs: Sequence[Points]) -> Points:
    """The mean line of several seeds, at the places that all of them have."""
    runs = [points for points in runs if points]
    shared = set.intersection(*({x for x, _ in points} for points in runs)) if runs else set()
    return [(x, fmean(dict(points)[x] for points in runs)) for x in sorted(shared)]


def loss_curves(title: str, seeds: Sequence[Series]) -> Safe | None:
    """Loss terms over epochs, each named at its end; several seeds are faint lines about their mean.

    None where there is nothing to draw.
    """
    terms = list(dict.fromkeys(name for series in seeds for name, points in series.items() if points))
    means = {name: mean_points([series.get(name, []) for series in seeds]) for name in terms}
    means = {name: points for name, points in means.items() if points}
    if not means:
        return None
    style = {name: _term_look(name, place) for place, name in enumerate(means)}
    faint = [(name, series[name]) for series in seeds for name in means if name in series] if len(seeds) > 1 else []
    room = max(text_width(name, 12) for name in means) + 14
    frame = _frame(LOSSES, room, [*means.values(), *(points for _, points in faint)], whole=True)
    parts = [label(title, 0, 14, INK, weight=600), *frame.grid("epoch", "")]
    return figure_svg(*LOSSES, f"{title}: loss by epoch", parts + _lines(frame, means, faint, style))


def relearning_curves(title: str, y_title: str, models: Mapping[str, Sequence[Points]]) -> Safe | None:
    """One line a model (the mean over its seeds, faint where there are few models), named at its end.

    None where no model has a curve.
    """
    means = {name: points for name, runs in models.items() if (points := mean_points(runs))}
    if not means:
        return None
    several = {name: runs for name, runs in models.items() if len(runs) > 1 and len(means) <= MANY}
    faint = [(name, points) for name, runs in several.items() for points in runs if points]
    room = max(text_width(name, 12) for name in means) + 14
    frame = _frame(RETURN, room, [*means.values(), *(points for _, points in faint)], whole=True)
    parts = frame.grid("steps of relearning", y_title)
    return figure_svg(*RETURN, title, parts + _lines(frame, means, faint, looks(list(models))))


def _term_look(name: str, place: int) -> Look:
    cycle = place // len(METHOD_COLOURS)
    return Look(
        INK if name == "loss" else METHOD_COLOURS[place % len(METHOD_COLOURS)], "circle", dash=METHOD_DASHES[cycle % 3]
    )


def _frame(size: tuple[float, float], room: float, lines: Sequence[Points], whole: bool) -> Frame:
    """The plot area for lines, with `room` on the right for their names; ticks on whole numbers of x."""
    every = [point for points in lines for point in points]
    first, last = min(x for x, _ in every), max(x for x, _ in every)
    x_ticks = [
        tick for tick in nice_ticks(first, last, 4) if first <= tick <= last and (tick == round(tick) or not whole)
    ]
    y_ticks = nice_ticks(min(0.0, *(y for _, y in every)), max(0.0, *(y for _, y in every)), 4)
    width, height = size
    return Frame(50, 34, width - 50 - room, height - 34 - 44, x_ticks, y_ticks, (first, max(last, first + 1)))


def _lines(
    frame: Frame, means: Mapping[str, Points], faint: Sequence[tuple[str, Points]], style: Mapping[str, Look]
) -> list[Safe]:
    """Faint lines, then each mean with a marker and its name at the end, names apart from each other."""
    parts = [_line(frame, points, style[name], 1.0, 0.3) for name, points in faint if name in style]
    ends = [frame.y(points[-1][1]) for points in means.values()]
    for (name, points), height in zip(means.items(), spread_out(ends, 14.0, frame.top + frame.height), strict=True):
        look, (x, y) = style[name], points[-1]
        thick = 2.4 if name in ("loss", *REFERENCES) else 1.7
        parts.append(_line(frame, points, look, thick))
        parts.append(marker(look, frame.x(x), frame.y(y), 3.5, f"{name}: {y:.4g}"))
        right = frame.left + frame.width
        parts.append(line(frame.x(x) + 4, frame.y(y), right + 8, height, look.colour, 0.7))
        parts.append(label(name, right + 10, height + 4, look.colour, "start", 12, 600))
    return parts


def _line(frame: Frame, points: Points, look: Look, thick: float, opacity: float | None = None) -> Safe:
    path = " ".join(f"{frame.x(x):.2f},{frame.y(y):.2f}" for x, y in points)
    stroke = {"stroke": look.colour, "stroke_width": thick, "stroke_linejoin": "round", "stroke_dasharray": look.dash}
    return el("polyline", points=path, fill="none", opacity=opacity, **stroke)
