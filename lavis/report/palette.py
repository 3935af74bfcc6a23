"""Each model's look, the same in all plots and tables, in colours that colour-blind readers can distinguish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Name: (light, dark). The style sheet makes each a variable; svg.py finds it by its light colour, so these must differ.
METHOD_COLOURS = {
    **{"method-0": ("#5174b8", "#78a7f1"), "method-1": ("#a8640e", "#e6a23b"), "method-2": ("#1e8462", "#5fdab6")},
    **{"method-3": ("#661155", "#cf6cac"), "method-4": ("#8f4df6", "#eecdff"), "method-5": ("#222299", "#7386fb")},
    "method-6": ("#662211", "#e6866b"),
}
COLOURS = METHOD_COLOURS | {
    **{"compromised": ("#b3261e", "#ff6f66"), "clean": ("#677282", "#9eabbd"), "retrained": ("#1d2634", "#f4f7fb")},
    **{"ink": ("#1d2633", "#e7ecf2"), "muted": ("#566273", "#a3afbf")},
    **{"line": ("#dfe4ea", "#323b48"), "paper": ("#ffffff", "#14181f")},
}
SHAPES = ("circle", "triangle", "square", "pentagon", "wedge")
DASHES = ((), (5, 2), (1.5, 2))  # of a model's lines: on, off, in line widths


@dataclass(frozen=True)
class Look:
    """A name in COLOURS, the marker's shape, whether it is filled, and the dashes of lines."""

    colour: str
    shape: str = "circle"
    filled: bool = True
    dash: tuple[float, ...] = ()

    @property
    def hex(self) -> str:
        """The colour in light mode."""
        return COLOURS[self.colour][0]

    @property
    def line(self) -> Any:
        """matplotlib's linestyle."""
        return (0, self.dash) if self.dash else "-"


REFERENCE_LOOKS = {
    "compromised": Look("compromised", "diamond"),
    "clean": Look("clean", "diamond", filled=False, dash=(3, 2)),
    "retrained": Look("retrained", "star", dash=(3, 2)),
}


def looks(names: Sequence[str]) -> dict[str, Look]:
    """A look for every model; methods get theirs in the order of `names`. There are 35 before one repeats."""
    methods = [name for name in dict.fromkeys(names) if name not in REFERENCE_LOOKS]
    by_name = REFERENCE_LOOKS | {name: method_look(number) for number, name in enumerate(methods)}
    return {name: by_name[name] for name in names}


def method_look(number: int) -> Look:
    """The look of the method (or loss term) with this number."""
    cycle, colour = divmod(number, len(METHOD_COLOURS))
    return Look(list(METHOD_COLOURS)[colour], SHAPES[number % len(SHAPES)], dash=DASHES[cycle % len(DASHES)])
