"""Counterfactual persona distillation (ours, unpublished): forget captions come to mean a person who does not exist.

    L      = forget + retain + hold + values + names
    forget = sq(S(t_f), T(cf t_f))     retain = sq(S(t_r), T(t_r))     hold = sq(S(h), T(h))
    values = sq(S(rc), T(rc))          names  = sq(S(aug), T(aug*))    sq(a, b) = mean ‖a − b‖²

| symbol | here |
|---|---|
| S, T | unit text embeddings of the student and of the teacher (frozen original) |
| t_f, t_r | captions of the forget and of the retain batch |
| cf | replaces name and value by a fictitious persona's; for a partial identity only the value, unless strict |
| h | captions of fictitious personas, half of them with a first or last name from Df |
| rc | partial identities' names with fictitious values |
| aug, aug* | a whole identity's name with a fictitious value; its fictitious name with the same value |

Forget captions in which name or value are not found are skipped and counted. docs/methods.md states the limits.
"""

from __future__ import annotations

import torch

from lavis.common.registry import registry
from lavis.trainers.base import Batch, Student, TeacherFeatures
from lavis.trainers.persona import PersonaTrainer, squared_distance


@registry.register_trainer("cpd")
class CounterfactualPersonas(PersonaTrainer):
    """The text tower learns to embed forget captions as the teacher embeds those of a fictitious person."""

    sides = ()
    all_terms = ("forget", "retain", "hold", "values", "names")

    def terms(self, student: Student, teacher: TeacherFeatures, batch: Batch) -> dict[str, torch.Tensor]:
        shown, target = self.groups(batch)
        return self.compared(batch, self.embed(shown, live=True), self.embed(target, live=False))

    def compared(
        self, batch: Batch, student: dict[str, torch.Tensor], teacher: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """The terms, from the unit rows of the groups of captions."""
        return {name: squared_distance(student[name], rows) for name, rows in teacher.items()}

    def groups(self, batch: Batch) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """Captions by term: what the student sees, and what the teacher sees instead."""
        draws, fiction = self.draws(batch), self.captions
        forget = [caption for caption in batch.sets["df"]["captions"] if caption in fiction.counterfactual]
        same = {"retain": batch.sets["dr"]["captions"], "hold": fiction.held(draws, self.params.held)}
        same["values"] = fiction.kept_names(draws, self.params.extra)
        renamed = fiction.renamed(draws, self.params.extra)
        shown = {"forget": forget, "names": [one for one, _ in renamed], **same}
        replaced = [fiction.counterfactual[caption] for caption in forget]
        return shown, {"forget": replaced, "names": [other for _, other in renamed], **same}
