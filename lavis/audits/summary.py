"""The content of audit.json: one number per attack, from the parts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from lavis.audits.attack import Attack, Reading, Readings, reading
from lavis.audits.audit import Audit
from lavis.audits.hypothesis import tests
from lavis.audits.models import ORIGINAL, UNLEARNED
from lavis.audits.share import Share, holm, p_value, share_of
from lavis.audits.tuning import FineTuning, curves

SCHEMA = 1
DIGITS = 6
Found = Mapping[str, Mapping[str, Readings | str]]


def summarised(audit: Audit, found: Found) -> dict[str, Any]:
    """audit.json: facts about the audit, and one entry per attack with its number, interval, p and variants."""
    plain = _plain(audit)
    attacks = {name: _attack(audit, name, roles, plain) for name, roles in found.items()}
    adjusted = holm({name: one["p"] for name, one in attacks.items()})
    for name, one in attacks.items():
        one["p_holm"] = adjusted[name]
    shares = {name: one["share"] for name, one in attacks.items() if not math.isnan(one["share"])}
    strongest = max(shares, key=lambda name: shares[name], default="")
    people, settings = audit.material.asked.everyone, audit.run.audit
    content = {
        "schema": SCHEMA,
        "budget": settings.budget,
        "seed": settings.seed,
        "models": audit.digests,
        "floor": audit.floor or ("control" if audit.material.control else ""),
        "people": len(people),
        "pairs": len(audit.material.asked),
        "control_people": len(audit.material.control.everyone) if audit.material.control else 0,
        "plain": {role: one.mean for role, one in plain.items()},
        "guess": audit.material.guess,
        "strongest": strongest,
        "notes": notes(audit, attacks),
        "tests": _tests(audit),
        "attacks": attacks,
    }
    return _rounded(content)


def _tests(audit: Audit) -> dict[str, Any]:
    own = audit.subjects[UNLEARNED]
    original = audit.subjects[ORIGINAL].behaviour if ORIGINAL in audit.subjects else None
    return tests(audit.material, own.behaviour, original, own.company.never, audit.run.audit.seed)


def notes(audit: Audit, attacks: Mapping[str, Any]) -> list[str]:
    """What cannot be concluded, in sentences."""
    said = list(audit.material.notes)
    if not audit.floor:
        said.append(
            "there is no retrained and no clean model: the floor is what the same attack finds about control pairs"
            if audit.material.control
            else "there is no model that never saw Df and no control: without a floor there are no shares"
        )
    if ORIGINAL not in audit.models:
        said.append("there is no original model: shares of what it knew cannot be computed")
    if audit.left_out:
        said.append(f"left out, as they take longer than run.audit.minutes allows: {', '.join(audit.left_out)}")
    failed = [name for name, one in attacks.items() if not one["variants"]]
    return said + ([f"no result from: {', '.join(failed)}"] if failed else [])


def _plain(audit: Audit) -> dict[str, Reading]:
    """X of each model as it is, about Df and the control."""
    found = {}
    for role, subject in audit.subjects.items():
        asked, control = audit.material.asked, audit.material.control
        compared = None if control is None else (control, subject.recall(control))
        found[role] = reading(asked, subject.recall(asked), control=compared)
    return found


def _attack(
    audit: Audit, name: str, roles: Mapping[str, Readings | str], plain: Mapping[str, Reading]
) -> dict[str, Any]:
    attack = audit.attacks[name]
    facts = {key: getattr(attack, key) for key in ("about", "reference", "quantity", "undoes_maps", "why_not")}
    facts |= {"needs": list(attack.needs), "settings": dict(audit.settings(attack))}
    own = roles[UNLEARNED]
    if isinstance(own, str):
        nothing = dataclasses.asdict(Share("", *[math.nan] * 6))
        return {**facts, **nothing, "p": math.nan, "problem": own, "variants": {}}
    below = roles.get(audit.floor) if audit.floor else None
    floor = below if isinstance(below, dict) else _constant(attack.chance, own)
    lost = f"on {audit.floor}: {below}" if isinstance(below, str) else ""
    shares = [_share(audit, attack, variant, own, floor, roles, plain) for variant in own]
    best = max(shares, key=_strength)
    content = {**facts, **dataclasses.asdict(best), "p": p_value(own, floor, audit.run.audit.seed), "problem": lost}
    content["variants"] = {one.variant: _variant(one, roles) for one in shares}
    if isinstance(attack, FineTuning) and not math.isnan(best.share):
        content["curves"] = curves(own, best.floor, best.original, audit.run.audit.threshold)
    return content


def _strength(one: Share) -> tuple[bool, float]:
    """By what variants are compared: their share, or what they find if there is none."""
    return (False, one.attacked) if math.isnan(one.share) else (True, one.share)


def _constant(value: float | None, own: Readings) -> Readings | None:
    """Readings that have this value for every pair."""
    return None if value is None else {name: Reading(value * one.count, one.count) for name, one in own.items()}


def _share(
    audit: Audit, attack: Attack, variant: str, own: Readings, floor: Readings | None, roles: Mapping, plain: Mapping
) -> Share:
    one, seed = own[variant], audit.run.audit.seed
    guess = audit.material.guess if attack.baseline == "plain" else -math.inf
    top = plain.get(ORIGINAL)
    if attack.baseline == "attacked":
        attacked = roles.get(ORIGINAL)
        top = attacked.get(variant) if isinstance(attacked, dict) else None
    elif attack.baseline == "certain":
        top = Reading(one.count, one.count)
    original = None if top is None else top.sums
    if floor is not None and variant in floor:
        return share_of(variant, one, floor[variant].sums, original, seed, paired=True, guess=guess)
    below = None if audit.floor else one.control_sums
    return share_of(variant, one, below, original, seed, paired=False, guess=guess)


def _variant(one: Share, roles: Mapping[str, Readings | str]) -> dict[str, Any]:
    """Its share, and what the same attack gives on each model."""
    content = {key: value for key, value in dataclasses.asdict(one).items() if key != "variant"}
    values = {
        role: found[one.variant].mean
        for role, found in roles.items()
        if isinstance(found, dict) and one.variant in found
    }
    own = roles[UNLEARNED]
    assert isinstance(own, dict)
    return content | {"by_model": values, "facts": own[one.variant].facts}


def _rounded(node: Any) -> Any:
    """The same with numbers rounded: sums in another order must not change the file."""
    if isinstance(node, dict):
        return {key: _rounded(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_rounded(value) for value in node]
    return round(node, DIGITS) if isinstance(node, float) else node
