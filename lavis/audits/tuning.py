"""Fine-tuning attacks: a copy of the model is trained on some pairs, and asked after some steps about others.

AdamW without decay at a constant rate, with the original objective (lavis/salmubench/relearning.py). With the control,
another copy is taught fresh people in the same way and tested their other pairs: what new pairs would gain anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from lavis.audits.attack import Attack, Reading, Readings, Settings, Sums, by_person
from lavis.audits.material import Material, Sample
from lavis.audits.subject import Subject, Timing
from lavis.common.precision import attention
from lavis.common.seed import derived_seed
from lavis.models.base import BaseModel
from lavis.salmubench.relearning import mean_height, relearn
from lavis.settings.schema import RelearnConfig

EVERYTHING, TEXT, IMAGE, TOKENS, LORA = "all", "text tower", "image tower", "token embedding", "LoRA"
BATCH, RANK = 32, 8
# Pairs to teach, and the rows of those tested that are not among them (None: all)
Lesson = tuple[Sample, np.ndarray | None]


@dataclass(frozen=True)
class Course:
    """One training: which parameters, at which rate, in which draw."""

    part: str
    rate: float
    draw: int


def courses(settings: Settings) -> list[Course]:
    """All trainings of a budget: each draw at the first rate; other rates and parts with draw 0 ("crossed": all)."""
    parts, rates, draws = settings["parts"], settings["rates"], range(settings["draws"])
    if settings.get("crossed"):
        return [Course(part, rate, number) for part in parts for rate in rates for number in draws]
    first = [Course(parts[0], rates[0], number) for number in draws]
    more = [Course(parts[0], rate, 0) for rate in rates[1:]]
    return first + more + [Course(part, rates[0], 0) for part in parts[1:]]


class FineTuning(Attack):
    """Base class: subclasses say what is taught (`lesson`), and what the control is taught (`control_lesson`)."""

    undoes_maps = True
    needs: ClassVar[tuple[str, ...]] = ("weights", "gradients")

    def lesson(self, material: Material, number: int) -> Lesson:
        """What the copy is taught in this draw, and the rows of `material.asked` to ask about (None: all)."""
        raise NotImplementedError

    def control_lesson(self, material: Material, number: int) -> Lesson | None:
        """The same for the control; None if what is taught is the same."""
        return None

    def cost(self, subject: Subject, settings: Settings, timing: Timing) -> float:
        steps, taught = settings["steps"], self.lesson(subject.material, 0)[0]
        pairs = min(BATCH, len(taught.dataset))
        each = steps[-1] * pairs * timing.step + len(steps) * timing.exam(subject.material)
        given = subject.material.control is not None and type(self).control_lesson is not FineTuning.control_lesson
        chosen = courses(settings)
        return (len(chosen) + given * sum(is_compared(one, settings) for one in chosen)) * each

    def run(self, subject: Subject, settings: Settings) -> Readings:
        found: Readings = {}
        for course in courses(settings):
            for step, one in zip(settings["steps"], self.curve(subject, course, settings), strict=True):
                name = f"{course.part}, lr {course.rate:g}, {step} steps"
                found[name] = found[name].plus(one) if name in found else one
        return found

    def curve(self, subject: Subject, course: Course, settings: Settings) -> list[Reading]:
        """The reading after each of the settings' steps."""
        steps, material = settings["steps"], subject.material
        fresh = self.control_lesson(material, course.draw) if is_compared(course, settings) else None
        unseen = subject.compared if type(self).control_lesson is FineTuning.control_lesson else None
        own, control = _taught(subject, self.lesson(material, course.draw), course, steps, material.asked, unseen)
        if fresh is not None and material.control is not None:
            control, _ = _taught(subject, fresh, course, steps, material.control)
        none: list[tuple[None, None]] = [(None, None)] * len(own)
        return [Reading(*a, b[0], b[1]) for a, b in zip(own, control or none, strict=True)]


def is_compared(course: Course, settings: Settings) -> bool:
    """Whether the control is taught in the same way: in trainings of the first part and rate, and in all if crossed."""
    return bool(settings.get("crossed")) or (course.part, course.rate) == (settings["parts"][0], settings["rates"][0])


def _taught(
    subject: Subject, lesson: Lesson, course: Course, steps: list[int], asked: Sample, unseen: Sample | None = None
) -> tuple[list[Sums], list[Sums]]:
    """X by person after each of these steps of a copy that is taught some pairs: of `asked`, and of `unseen`.

    Raises TrainingError, DataError if it diverges.
    """
    taught, rows = lesson
    student, kernel = subject.copy(), subject.run.attention
    seed = derived_seed(subject.material.seed, "tuning", course.draw) % 2**32
    settings = RelearnConfig(steps=steps, lr=course.rate, batch_size=BATCH, seed=seed)
    found, others = list[Sums](), list[Sums]()
    with torch.random.fork_rng(), attention(kernel):
        trained = relearn(student, taught.dataset, settings, subject.device, kernel, lambda one: choose(one, course))
        for done in trained:
            if done == steps[len(found)]:
                pupil = subject.changed(student.eval())
                found.append(by_person(asked, pupil.recall(asked), rows))
                others += [by_person(unseen, pupil.recall(unseen))] if unseen else []
            if len(found) == len(steps):
                break
    return found, others


def choose(model: BaseModel, course: Course) -> None:
    """Let only the parameters of this part be trained."""
    model.requires_grad_(True)
    if course.part == LORA:
        model.adapt(RANK, 2.0 * RANK, course.draw)
        return
    text = {id(p) for p in model.text_parameters(tokens_only=course.part == TOKENS)}
    if course.part in (TEXT, TOKENS):
        keep = text
    elif course.part == IMAGE:
        keep = {id(p) for p in model.parameters()} - text - {id(p) for p in model.scale_parameters()}
    else:
        return
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in keep)


def curves(readings: Readings, floor: float, top: float, threshold: float) -> dict[str, Any]:
    """For each training its curve of X, the mean height, and the first step at which the share reaches `threshold`."""
    found: dict[str, dict[str, Any]] = {}
    for name, one in readings.items():
        course, _, tail = name.rpartition(", ")
        curve = found.setdefault(course, {"steps": [], "x": [], "control": []})
        curve["steps"].append(int(tail.split()[0]))
        curve["x"].append(one.mean)
        curve["control"].append(one.control_mean)
    for curve in found.values():
        height = floor + threshold * (top - floor)
        curve["area"] = mean_height(curve["steps"], curve["x"])
        curve["back_at"] = next((s for s, x in zip(curve["steps"], curve["x"], strict=True) if x >= height), None)
    return found
