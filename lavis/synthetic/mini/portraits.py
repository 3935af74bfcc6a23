"""Draws portraits: a Look in a Pose, from the background to the hat."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from lavis.synthetic.mini import camera
from lavis.synthetic.mini.looks import Look
from lavis.synthetic.mini.pen import Colour, Frame, Pen, arc, ellipse, mix, palette, shade

DARK: Colour = (38, 32, 36)
WHITE: Colour = (252, 252, 250)


@dataclass(frozen=True, slots=True)
class Pose:
    """How a person sits: frames of body and head; turn of the head, smile and gaze (all -1 to 1)."""

    body: Frame
    head: Frame
    turn: float
    smile: float
    gaze: float


def random_pose(rng: np.random.Generator) -> Pose:
    """Draw scale, place, rotation, turn and expression for one photograph."""
    scale = rng.uniform(0.86, 1.08)
    x, y = rng.uniform(-0.12, 0.12), rng.uniform(-0.06, 0.08)
    lean = math.radians(rng.uniform(-5.0, 5.0))
    tilt = lean + math.radians(rng.uniform(-10.0, 10.0))
    turn = rng.uniform(-1.0, 1.0)
    body = Frame(scale, lean, x, y)
    head = Frame(scale, tilt, x + scale * 0.03 * turn, y - scale * 0.12)
    return Pose(body, head, turn, rng.uniform(-0.35, 1.0), rng.uniform(-1.0, 1.0))


def draw_portrait(look: Look, rng: np.random.Generator, size: int) -> Image.Image:
    """Draw one photograph of a person, (size, size) RGB."""
    pose = random_pose(rng)
    image = camera.canvas(size, palette("background")[look.background])
    _backdrop(Pen(image), look)
    body, head = Pen(image, pose.body), Pen(image, pose.head)
    _hair_behind(head, look)
    _body(body, look)
    _head(head, look, pose)
    _face(head, look, pose)
    _beard(head, look, pose)
    _hair_front(head, look, pose)
    _glasses(head, look, pose)
    _hat(head, look)
    return camera.develop(image, rng)


def _backdrop(pen: Pen, look: Look) -> None:
    colour = palette("background")[look.background]
    pen.ellipse(0.0, -0.1, 1.05, 1.05, mix(colour, WHITE, 0.10))
    pen.ellipse(0.0, -0.1, 0.80, 0.80, mix(colour, WHITE, 0.20))


def _hair_behind(pen: Pen, look: Look) -> None:
    dark = shade(palette("hair")[look.hair], 0.82)
    if look.style == "long":
        pen.polygon(np.concatenate([arc(0, -0.12, 0.55, 0.58, 180, 360), [(0.60, 0.86), (-0.60, 0.86)]]), dark)
    elif look.style == "bobbed":
        pen.polygon(np.concatenate([arc(0, -0.10, 0.56, 0.58, 175, 365), [(0.52, 0.40), (-0.52, 0.40)]]), dark)
    elif look.style == "curly":
        for angle in range(150, 400, 25):
            x, y = 0.42 * math.cos(math.radians(angle)), -0.10 + 0.44 * math.sin(math.radians(angle))
            pen.ellipse(x, y, 0.22, 0.22, dark)
    elif look.style == "bun" and not look.hat:
        pen.ellipse(0.0, -0.68, 0.22, 0.20, dark)
        pen.ellipse(0.0, -0.70, 0.17, 0.14, palette("hair")[look.hair])


_TORSO = np.concatenate([[(-0.95, 1.5)], arc(-0.48, 0.92, 0.44, 0.32, 180, 262, 8),
                         arc(0.48, 0.92, 0.44, 0.32, 278, 360, 8), [(0.95, 1.5)]])  # fmt: skip


def _body(pen: Pen, look: Look) -> None:
    skin, cloth = palette("skin")[look.skin], palette("clothes")[look.clothes]
    pen.polygon(_TORSO, cloth)
    if look.pattern != "plain":
        _pattern(pen, look)
    if look.garment == "hoodie":
        pen.ellipse(0.0, 0.66, 0.40, 0.20, shade(cloth, 0.72))
    pen.polygon([(-0.17, 0.2), (0.17, 0.2), (0.18, 0.66), (0.0, 0.76), (-0.18, 0.66)], shade(skin, 0.84))
    _collar(pen, look, cloth, skin)


def _collar(pen: Pen, look: Look, cloth: Colour, skin: Colour) -> None:
    edge = shade(cloth, 0.72) if sum(cloth) > 240 else shade(cloth, 1.3)
    if look.garment == "t-shirt":
        pen.polygon(arc(0.0, 0.60, 0.24, 0.20, 0, 180), shade(skin, 0.84))
        pen.stroke(arc(0.0, 0.60, 0.25, 0.21, 0, 180), 0.045, edge)
    elif look.garment == "shirt":
        for side in (-1, 1):
            pen.polygon([(side * 0.16, 0.54), (side * 0.36, 0.66), (side * 0.20, 0.90), (0.0, 0.76)], edge)
        pen.stroke([(0.0, 0.78), (0.0, 1.5)], 0.03, edge)
    else:
        for side in (-1, 1):
            pen.stroke([(side * 0.12, 0.80), (side * 0.13, 1.08)], 0.04, edge)


def _pattern(pen: Pen, look: Look) -> None:
    """Stripes, dots or checks, clipped to the torso."""
    cloth = palette("clothes")[look.clothes]
    accent = shade(cloth, 0.60) if sum(cloth) > 560 else mix(cloth, WHITE, 0.62)
    layer = Pen(Image.new("RGB", pen.image.size, cloth), pen.frame)
    if look.pattern in ("striped", "checked"):
        for y in np.arange(0.62, 1.5, 0.22):
            layer.stroke([(-1.0, y), (1.0, y)], 0.08, accent)
    if look.pattern == "checked":
        for x in np.arange(-0.88, 1.0, 0.22):
            layer.stroke([(x, 0.5), (x, 1.5)], 0.06, mix(cloth, accent, 0.6))
    if look.pattern == "dotted":
        for row, y in enumerate(np.arange(0.62, 1.5, 0.17)):
            for x in np.arange(-0.95 + 0.11 * (row % 2), 1.0, 0.22):
                layer.polygon(ellipse(x, y, 0.055, 0.055)[::4], accent)
    mask = Image.new("L", pen.image.size, 0)
    Pen(mask, pen.frame).polygon(_TORSO, 255)
    pen.image.paste(layer.image, (0, 0), mask)


def _head(pen: Pen, look: Look, pose: Pose) -> None:
    skin = palette("skin")[look.skin]
    for side in (-1, 1):
        x = side * 0.43 - 0.05 * pose.turn
        pen.ellipse(x, 0.04, 0.08, 0.12, shade(skin, 0.90))
        if look.earrings:
            pen.ellipse(x + side * 0.02, 0.20, 0.05, 0.05, (250, 208, 70))
    pen.polygon(np.concatenate([arc(0, -0.06, 0.42, 0.48, 180, 360), arc(0, 0.06, 0.42, 0.46, 0, 180)]), skin)


def _face(pen: Pen, look: Look, pose: Pose) -> None:
    skin, dx = palette("skin")[look.skin], 0.09 * pose.turn
    for side in (-1, 1):
        x = side * 0.17 + dx
        pen.ellipse(side * 0.25 + dx, 0.20, 0.09, 0.065, mix(skin, (230, 90, 90), 0.22))
        pen.ellipse(x, 0.02, 0.085, 0.070, WHITE)
        pen.ellipse(x + 0.025 * pose.gaze, 0.02, 0.055, 0.058, palette("eyes")[look.eyes])
        pen.ellipse(x + 0.025 * pose.gaze, 0.02, 0.026, 0.028, DARK)
        pen.stroke(arc(x, -0.08, 0.10, 0.05, 205, 335, 6), 0.035, shade(palette("hair")[look.hair], 0.62))
    pen.stroke([(dx * 1.3, 0.06), (dx * 1.5 + 0.035, 0.17), (dx * 1.3 - 0.02, 0.185)], 0.03, shade(skin, 0.74))
    _mouth(pen, dx, pose.smile)


def _mouth(pen: Pen, dx: float, smile: float) -> None:
    if smile > 0.55:
        pen.polygon(arc(dx, 0.29, 0.15, 0.11, 0, 180), (140, 40, 52))
        pen.polygon(arc(dx, 0.29, 0.13, 0.045, 0, 180), WHITE)
    else:
        curve = [(dx + t * 0.13, 0.32 + 0.07 * smile * (1.0 - t * t)) for t in np.linspace(-1, 1, 8)]
        pen.stroke(curve, 0.04, (150, 58, 62))


def _beard(pen: Pen, look: Look, pose: Pose) -> None:
    hair, dx = shade(palette("hair")[look.hair], 0.9), 0.09 * pose.turn
    if look.beard == "a beard":
        pen.polygon(np.concatenate([arc(0, 0.10, 0.425, 0.47, 0, 180, 24),
                                    arc(dx, 0.14, 0.34, 0.16, 180, 0, 12)]), hair)  # fmt: skip
        _mouth(pen, dx, pose.smile)
    if look.beard:
        dark = shade(palette("hair")[look.hair], 0.72)
        for side in (-1, 1):
            pen.polygon([(dx, 0.19), (dx + side * 0.12, 0.20), (dx + side * 0.24, 0.31),
                         (dx + side * 0.12, 0.285), (dx, 0.265)], dark)  # fmt: skip


def _hair_front(pen: Pen, look: Look, pose: Pose) -> None:
    hair, shift = palette("hair")[look.hair], 0.06 * pose.turn
    cap = arc(0, -0.10, 0.46, 0.50, 172, 368, 24)
    if look.style == "spiky" and not look.hat:
        spikes = [(0.50 * math.cos(a), -0.16 + (0.62 if i % 2 else 0.42) * math.sin(a))
                  for i, a in enumerate(np.radians(np.linspace(184, 356, 13)))]  # fmt: skip
        pen.polygon([*spikes, (0.40, -0.10), (0.2, -0.24), (-0.2, -0.24), (-0.40, -0.10)], hair)
    elif look.style == "curly":
        for angle in range(185, 360, 19):
            x, y = 0.38 * math.cos(math.radians(angle)), -0.14 + 0.34 * math.sin(math.radians(angle))
            pen.ellipse(x, y, 0.14, 0.14, hair)
    elif look.style == "bobbed":
        pen.polygon(np.concatenate([cap, [(0.40, -0.16), (-0.40, -0.16)]]), hair)
        for side in (-1, 1):
            pen.polygon([(side * 0.36, -0.2), (side * 0.50, -0.2), (side * 0.52, 0.38), (side * 0.36, 0.34)], hair)
    else:
        parting = [(0.38, -0.12), (0.22 + shift, -0.27), (-0.12 + shift, -0.30), (-0.38, -0.10)]
        pen.polygon(np.concatenate([cap, parting]), hair)
    if look.style == "long":
        for side in (-1, 1):
            pen.polygon([(side * 0.38, -0.15), (side * 0.50, -0.15), (side * 0.56, 0.80), (side * 0.38, 0.76)], hair)


def _glasses(pen: Pen, look: Look, pose: Pose) -> None:
    if not look.glasses:
        return
    dx = 0.09 * pose.turn
    for side in (-1, 1):
        x = side * 0.18 + dx
        if look.glasses == "sunglasses":
            pen.ellipse(x, 0.03, 0.155, 0.125, (28, 28, 36))
            pen.stroke([(x - 0.07, -0.01), (x - 0.01, -0.05)], 0.03, (150, 160, 180))
        elif look.glasses == "round glasses":
            pen.ring(x, 0.03, 0.135, 0.135, 0.042, DARK)
        else:
            box = np.array([(-0.15, -0.11), (0.15, -0.11), (0.15, 0.11), (-0.15, 0.11), (-0.15, -0.11), (0.15, -0.11)])
            pen.stroke(box + (x, 0.03), 0.05, (150, 34, 40))
        pen.stroke([(x + side * 0.14, 0.0), (side * 0.42, -0.02)], 0.035, DARK)
    pen.stroke([(dx - 0.05, 0.02), (dx + 0.05, 0.02)], 0.035, DARK)


def _hat(pen: Pen, look: Look) -> None:
    if not look.hat:
        return
    colour = palette("clothes")[look.hat_colour]
    trim = shade(colour, 0.70) if sum(colour) > 240 else shade(colour, 1.3)
    if look.hat == "cap":
        pen.polygon(arc(0, -0.22, 0.49, 0.46, 180, 360), colour)
        pen.polygon(np.concatenate([arc(0.18, -0.22, 0.56, 0.12, 0, 180, 10)]), trim)
        pen.ellipse(0.0, -0.67, 0.05, 0.04, trim)
    elif look.hat == "beanie":
        pen.polygon(arc(0, -0.20, 0.50, 0.58, 180, 360), colour)
        pen.polygon([(-0.53, -0.32), (0.53, -0.32), (0.53, -0.15), (-0.53, -0.15)], trim)
        pen.ellipse(0.0, -0.80, 0.12, 0.11, trim)
    else:
        pen.ellipse(0.0, -0.27, 0.82, 0.15, colour)
        pen.polygon(arc(0, -0.28, 0.45, 0.46, 180, 360), colour)
        pen.polygon([(-0.45, -0.38), (0.45, -0.38), (0.46, -0.27), (-0.46, -0.27)], trim)
