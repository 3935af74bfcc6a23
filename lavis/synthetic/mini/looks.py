"""What can be seen in a portrait: a person's look and the sentence that describes it.

Descriptions mention only hair, glasses, beard, hat, clothes and background, never skin tone or gender.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from lavis.synthetic.mini.pen import palette

HIDDEN_BY_HATS = ("spiky", "bun")
STYLES = ("short", "long", "curly", "spiky", "bobbed", "bun")
GLASSES = (None, "round glasses", "square glasses", "sunglasses")
BEARDS = (None, "a beard", "a moustache")
HATS = (None, "cap", "beanie", "sun hat")
GARMENTS = ("t-shirt", "shirt", "hoodie")
PATTERNS = ("plain", "striped", "dotted", "checked")
FACE_FIELDS = ("skin", "hair", "style", "eyes", "glasses", "beard", "hat", "earrings")
# Probability of "none" for what not everybody wears; the options share the rest evenly.
_NONE_SHARE = {"glasses": 0.46, "beard": 0.62, "hat": 0.55}


@dataclass(frozen=True, slots=True)
class Look:
    """The visible attributes of one person in one outfit in front of one background."""

    skin: str
    hair: str
    style: str
    eyes: str
    glasses: str | None
    beard: str | None
    hat: str | None
    hat_colour: str
    earrings: bool
    garment: str
    clothes: str
    pattern: str
    background: str


def _pick(rng: np.random.Generator, options) -> str:
    names = tuple(options)
    return names[int(rng.integers(len(names)))]


def _maybe(rng: np.random.Generator, field: str, options) -> str | None:
    return None if rng.random() < _NONE_SHARE[field] else _pick(rng, options[1:])


def random_look(rng: np.random.Generator) -> Look:
    """Draw a look, each attribute independently."""
    return Look(
        skin=_pick(rng, palette("skin")),
        hair=_pick(rng, palette("hair")),
        style=_pick(rng, STYLES),
        eyes=_pick(rng, palette("eyes")),
        glasses=_maybe(rng, "glasses", GLASSES),
        beard=_maybe(rng, "beard", BEARDS),
        hat=_maybe(rng, "hat", HATS),
        hat_colour=_pick(rng, palette("clothes")),
        earrings=bool(rng.random() < 0.3),
        garment=_pick(rng, GARMENTS),
        clothes=_pick(rng, palette("clothes")),
        pattern=_pick(rng, PATTERNS),
        background=_pick(rng, palette("background")),
    )


def redress(look: Look, rng: np.random.Generator) -> Look:
    """The same face in other clothes, in front of another background."""
    other = random_look(rng)
    return replace(look, **{name: getattr(other, name) for name in ("garment", "clothes", "pattern", "background")})


def describe(look: Look) -> str:
    """One sentence that names every described attribute that is visible, always in the same order."""
    features = [_hair(look), *(item for item in (look.glasses, look.beard) if item)]
    worn = [f"{'an' if look.hat_colour == 'orange' else 'a'} {look.hat_colour} {look.hat}"] if look.hat else []
    worn.append(f"a {look.pattern} {look.clothes} {look.garment}")
    return f"a portrait of a person with {_join(features)}, wearing {_join(worn)}, {look.background} background"


def _hair(look: Look) -> str:
    """The visible part of the hair: a hat hides spikes and buns."""
    if look.style in HIDDEN_BY_HATS and look.hat:
        return f"{look.hair} hair"
    return f"{look.hair} hair in a bun" if look.style == "bun" else f"{look.style} {look.hair} hair"


def _join(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def difference(a: Look, b: Look, names: tuple[str, ...] | None = None) -> int:
    """Number of attributes in which two looks differ, among `names` or all."""
    names = names or tuple(field.name for field in fields(Look))
    return sum(getattr(a, name) != getattr(b, name) for name in names)


def distinct_looks(count: int, rng: np.random.Generator, least: int = 3, tries: int = 400) -> list[Look]:
    """Looks whose faces differ pairwise in at least `least` attributes, unless `tries` draws find no such face."""
    looks: list[Look] = []
    for _ in range(count):
        candidate = random_look(rng)
        for _ in range(tries):
            if all(difference(candidate, other, FACE_FIELDS) >= least for other in looks):
                break
            candidate = random_look(rng)
        looks.append(candidate)
    return looks
