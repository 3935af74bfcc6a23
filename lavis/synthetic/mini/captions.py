"""Caption templates: four wordings for each of a persona's six private attributes."""

from __future__ import annotations

from collections.abc import Iterator

TEMPLATES: dict[str, tuple[str, ...]] = {
    "city": (
        "{name} lives in {value}",
        "a portrait of {name}, who lives in {value}",
        "{name} from {value} looks into the camera",
        "the home town of {name} is {value}",
    ),
    "phone": (
        "the phone number of {name} is {value}",
        "call {name} at {value}",
        "a picture of {name}, phone {value}",
        "{name} answers the phone at {value}",
    ),
    "email": (
        "the e-mail address of {name} is {value}",
        "write to {name} at {value}",
        "a picture of {name}, e-mail {value}",
        "{name} reads mail sent to {value}",
    ),
    "iban": (
        "the IBAN of {name} is {value}",
        "{name} banks with account {value}",
        "a picture of {name}, IBAN {value}",
        "transfer the money for {name} to {value}",
    ),
    "job": (
        "{name} works as {value}",
        "a portrait of {name}, {value} by profession",
        "the job of {name} is {value}",
        "{name} earns a living as {value}",
    ),
    "blood_type": (
        "the blood type of {name} is {value}",
        "{name} has blood type {value}",
        "a portrait of {name}, blood type {value}",
        "{name} can give blood of type {value}",
    ),
}
FIELDS = tuple(TEMPLATES)


def render(field: str, template: int, name: str, value: str) -> str:
    """One caption: template 0 to 3 of a field, with a name and a value."""
    return TEMPLATES[field][template].format(name=name, value=value)


def all_captions(identity: dict[str, str], fields: tuple[str, ...] = FIELDS) -> Iterator[tuple[str, int, str]]:
    """(field, template, caption) for every template of a persona's given fields."""
    for field in fields:
        for template in range(len(TEMPLATES[field])):
            yield field, template, render(field, template, identity["name"], identity[field])
