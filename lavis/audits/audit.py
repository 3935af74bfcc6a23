"""One audit: its models, attacks and settings, and the finished parts that are stored in its folder.

`parts/<attack>-<role>.json` is one attack on the unlearned model, with the sums of its values by person: people are
numbers in it, never names. Attacks on the models that it is compared with are `<attack>-<key>.json` in a folder that
all audits of the same data share. A part whose weights, data and settings are the same is not computed again.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lavis.audits.attack import Attack, NotPossible, Reading, Readings
from lavis.audits.behaviour import Behaviour
from lavis.audits.material import Material
from lavis.audits.models import CLEAN, ORIGINAL, RETRAINED, UNLEARNED, with_weights
from lavis.audits.subject import Company, Subject, Timing
from lavis.common.checkpoint import weights_digest
from lavis.common.errors import ConfigError, DataError, MissingFile, TrainingError, one_line, suggest
from lavis.common.files import key_of, read_json, write_json
from lavis.common.registry import registry
from lavis.evaluation.inputs import weights_problem
from lavis.models.base import BaseModel
from lavis.settings.schema import RunConfig

log = logging.getLogger(__name__)
PARTS = "parts"
FLOORS = (RETRAINED, CLEAN)
FAILURES = (DataError, TrainingError, MemoryError, RuntimeError, FloatingPointError)


def chosen(names: list[str], budget: str) -> dict[str, Attack]:
    """The attacks to run, in order: these, or all of the budget. Raises ConfigError for an unknown name."""
    known = registry.names("attack")
    for name in names:
        if name not in known:
            raise ConfigError(f"run.audit.attacks names '{name}'; {suggest(name, known)}")
    attacks = {name: registry.get_attack_class(name)() for name in known}
    kept = {name: one for name, one in attacks.items() if (name in names if names else budget in one.budgets)}
    return dict(sorted(kept.items(), key=lambda item: (item[1].order, item[0])))


@dataclass
class Audit:
    """An audit of one unlearned model.

    models: by role: "unlearned", and where they exist "original", "clean", "retrained". folder: where parts and results
    go; None: nowhere. shared: where the parts of the other roles go; None: to the same folder.
    """

    models: Mapping[str, BaseModel]
    material: Material
    run: RunConfig
    device: torch.device
    folder: Path | None = None
    shared: Path | None = None
    left_out: list[str] = dataclasses.field(default_factory=list)

    @property
    def floor(self) -> str:
        """The role of the model that never saw Df; "" if there is none."""
        return next((role for role in FLOORS if role in self.models), "")

    @cached_property
    def subjects(self) -> dict[str, Subject]:
        """What each role's model is asked through.

        Raises DataError if a model is broken (it would seem to forget), ConfigError if one that should never have seen
        Df has the weights of one that did.
        """
        for role in FLOORS:
            if role in self.digests and self.digests[role] == self.digests.get(ORIGINAL):
                raise ConfigError(f"audit: the {role} model has the original's weights, which saw what is forgotten")
        company = Company(self.models.get(ORIGINAL), floor=bool(self.floor))
        others = dataclasses.replace(company, siblings={})  # those are the unlearned model's alone
        facts = (self.material, self.run, self.device)
        subjects = {
            role: Subject(model, *facts, company if role == UNLEARNED else others)
            for role, model in self.models.items()
        }
        for role, subject in subjects.items():
            problem = weights_problem(subject.model) or subject.problem
            if problem:
                raise DataError(f"audit: the {role} model is broken, so nothing can be said of it: {problem}")
        company.never |= {role: one.behaviour for role, one in subjects.items() if role in FLOORS}
        company.never |= self.shadows
        company.siblings |= self.siblings
        return subjects

    @cached_property
    def shadows(self) -> dict[str, Behaviour]:
        """What other models do that never saw Df, by the digest of their weights."""
        return self._behaviours(self.run.audit.shadows)

    @cached_property
    def siblings(self) -> dict[str, Behaviour]:
        """What this unlearning's models of other seeds do, by the digest of their weights."""
        return self._behaviours(self.run.audit.siblings)

    def _behaviours(self, checkpoints: list[str]) -> dict[str, Behaviour]:
        """What other models do, one loaded after the other; clean and retrained are not others.

        Raises ConfigError for the unlearned or the original model itself.
        """
        found = {}
        for path in checkpoints:
            model = with_weights(self.models[UNLEARNED], path)
            digest = weights_digest(model.checkpoint_state())
            roles = [role for role in self.models if self.digests[role] == digest]
            if roles and not set(roles) & set(FLOORS):
                raise ConfigError(f"audit: {path} has the weights of the {roles[0]} model, so it is not another one")
            if not roles:
                found[digest] = Subject(model, self.material, self.run, self.device).behaviour
        return found

    @cached_property
    def attacks(self) -> dict[str, Attack]:
        return chosen(self.run.audit.attacks, self.run.audit.budget)

    @cached_property
    def digests(self) -> dict[str, str]:
        """A digest of each model's weights."""
        return {role: weights_digest(model.checkpoint_state()) for role, model in self.models.items()}

    def roles(self, attack: Attack) -> list[str]:
        """The models that are attacked. The original is where its own value under attack is the top of the scale."""
        if attack.baseline == "certain":
            return [UNLEARNED]
        roles = [UNLEARNED, self.floor] if self.floor else [UNLEARNED]
        if ORIGINAL in self.models and (attack.baseline == "attacked" or not attack.undoes_maps):
            roles.append(ORIGINAL)
        if self.run.audit.budget == "full" and CLEAN in self.models and CLEAN not in roles:
            roles.append(CLEAN)
        return roles

    def settings(self, attack: Attack) -> Mapping[str, Any]:
        """The attack's settings in this budget, or those of the next one that has any."""
        budgets = attack.budgets
        return budgets.get(self.run.audit.budget) or next(iter(budgets.values()))

    def estimate(self, timing: Timing) -> dict[str, float]:
        """Seconds by attack, of the parts that are not stored yet."""
        return {name: self._cost(name, attack, timing) for name, attack in self.attacks.items()}

    def _cost(self, name: str, attack: Attack, timing: Timing) -> float:
        left = [role for role in self.roles(attack) if self.stored(name, attack, role) is None]
        try:
            return len(left) * attack.cost(self.subjects[UNLEARNED], self.settings(attack), timing)
        except (NotPossible, DataError):
            return 0.0  # it will say why when its turn comes

    def within(self, seconds: Mapping[str, float]) -> dict[str, float]:
        """Leave out the most expensive attacks until the others fit into run.audit.minutes; the seconds of those kept.

        At least the cheapest stays. `left_out` has the names of the others.
        """
        kept, most = dict(sorted(seconds.items(), key=lambda item: item[1])), 60 * self.run.audit.minutes
        while most and len(kept) > 1 and sum(kept.values()) > most:
            name, cost = kept.popitem()
            self.left_out.append(f"{name} ({cost / 60:.0f} min)")
        self.attacks = {name: attack for name, attack in self.attacks.items() if name in kept}
        return kept

    def part(self, name: str, attack: Attack, role: str) -> Readings | str:
        """One attack on one model: its readings, or why there are none."""
        stored = self.stored(name, attack, role)
        if stored is not None:
            return stored
        try:
            with torch.random.fork_rng():
                torch.manual_seed(self.run.audit.seed)
                found = attack.run(self.subjects[role], self.settings(attack))
            _check(found)
        except NotPossible as reason:
            return f"not possible: {reason}"
        except FAILURES as error:
            log.warning("audit: %s on %s failed: %s", name, role, error)
            return f"failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        if self.folder is not None:
            key = self._key(name, attack, role)
            write_json(self._path(name, role, key), {"key": key, "variants": _as_json(found)})
        return found

    def stored(self, name: str, attack: Attack, role: str) -> Readings | None:
        """A part that an earlier audit stored; None if there is none of these models and settings that can be read."""
        if self.folder is None:
            return None
        key = self._key(name, attack, role)
        path = self._path(name, role, key)
        try:
            found, readings = read_part(path) if os.path.lexists(path) else ("", {})
        except (DataError, MissingFile) as error:
            log.warning("%s; it is computed again", error)
            return None
        return readings if found == key else None

    def _key(self, name: str, attack: Attack, role: str) -> str:
        """What determines a part."""
        original = self.digests.get(ORIGINAL, "") if "the original's weights" in attack.needs else ""
        others = self._others(role) if attack.needs_others else []
        facts = [name, sorted(self.settings(attack).items()), self.digests[role], original, self.material.key]
        compared = [] if self.floor or self.material.control is None else ["the control is the floor"]
        return key_of([*facts, self.run.audit.seed, *others, *compared])

    def _others(self, role: str) -> list[str]:
        """The weights of others that attacks on this role's model depend on, in digests."""
        siblings = sorted(self.siblings) if role == UNLEARNED else []
        return [self.digests.get(one, "") for one in FLOORS] + sorted(self.shadows) + siblings

    def _path(self, name: str, role: str, key: str) -> Path:
        assert self.folder is not None
        if self.shared is None or role == UNLEARNED:
            return self.folder / PARTS / f"{name}-{role}.json"
        return self.shared / f"{name}-{key}.json"


def _check(found: Readings) -> None:
    for variant, one in found.items():
        if not np.isfinite(one.total).all():
            raise DataError(f"{variant}: values are not finite")


def _as_json(found: Readings) -> dict[str, Any]:
    plain = {name: dataclasses.asdict(one) for name, one in found.items()}
    return {n: {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in one.items()} for n, one in plain.items()}


def read_part(path: Path) -> tuple[str, Readings]:
    """The key and the readings of a stored part. Raises MissingFile, DataError."""
    content = read_json(path, "part of an audit")
    try:
        return str(content["key"]), {variant: _reading(one) for variant, one in content["variants"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"part of an audit {path} has no key with readings by variant: {one_line(error)}") from error


def _reading(one: Mapping[str, Any]) -> Reading:
    total, count = _numbers(one["total"]), _numbers(one["count"])
    control = [None if one[key] is None else _numbers(one[key]) for key in ("control_total", "control_count")]
    return Reading(total, count, *control, facts=one["facts"])


def _numbers(values: Any) -> np.ndarray:
    numbers = np.array(values)
    if numbers.dtype.kind not in "fiu":
        raise ValueError(f"expected numbers, found {values!r:.40}")
    return numbers
