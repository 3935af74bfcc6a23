"""One look for every model, the same in all plots: colours that differ for colour-blind eyes and in grey print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

REFERENCES = ("compromised", "clean", "retrained")
INK, MUTED, LINE, PAPER = "#1d2633", "#566273", "#dfe4ea", "#ffffff"
METHOD_COLOURS = ("#5577bb", "#aa6611", "#228866", "#661155", "#9955ff", "#222299", "#662211")
METHOD_SHAPES = ("circle", "triangle", "square", "pentagon", "wedge")
METHOD_DASHES = (None, "7 3", "2 3")


@dataclass(frozen=True)
class Look:
    """Colour, marker shape, whether the marker is filled, and the dashes of its lines."""

    colour: str
    shape: str
    filled: bool = True
    dash: str | None = None


REFERENCE_LOOKS = {
    "compromised": Look("#b3261e", "diamond"),
    "clean": Look("#6b7686", "diamond", filled=False, dash="5 4"),
    "retrained": Look("#1d2633", "star", dash="5 4"),
}


def looks(names: Sequence[str]) -> dict[str, Look]:
    """A look for every model name; methods take colours and shapes in the order of `names`.

    Seven colours and five shapes make 35 looks before one comes again.
    """
    methods = [name for name in dict.fromkeys(names) if name not in REFERENCE_LOOKS]
    chosen = {name: _method_look(place) for place, name in enumerate(methods)}
    return {name: REFERENCE_LOOKS.get(name) or chosen[name] for name in dict.fromkeys(names)}


def _method_look(place: int) -> Look:
    cycle = place // len(METHOD_COLOURS)
    return Look(
        METHOD_COLOURS[place % len(METHOD_COLOURS)],
        METHOD_SHAPES[place % len(METHOD_SHAPES)],
        dash=METHOD_DASHES[cycle % len(METHOD_DASHES)],
    )
