"""Fictitious people: names and private values, generated with Faker.

No value belongs to a real person: e-mail addresses use the example domains and telephone numbers the 555-01xx block,
both reserved for such use. Everything is short plain ASCII, so that every caption fits a small model's context.
"""

from __future__ import annotations

import re

LOCALES = ("en_GB", "es_ES", "de_DE", "nl_NL", "da_DK", "sv_SE")
BLOOD_TYPES = ("A+", "A-", "B+", "B-", "AB+", "AB-", "O+", "O-")
_NAME = re.compile(r"[A-Z][a-z]{2,8} [A-Z][a-z]{2,9}")
_CITY = re.compile(r"[A-Z][a-z]{2,12}( [A-Z][a-z]{2,9})?")
_JOB = re.compile(r"[A-Z][a-z]{2,12}( [a-z]{2,12})?")
_HANDLE = re.compile(r"[a-z]{3,9}[0-9]{0,2}")


def make_personas(count: int, seed: int, taken: frozenset[str] = frozenset()) -> list[dict[str, str]]:
    """Personas of mixed locales; equal seeds give equal personas.

    Args:
        taken: full names that must not be used.

    Each is {"name", "locale", and a value for every field of captions.yaml}; full names are distinct.
    """
    fakers, names = _fakers(seed), set(taken)
    locales = [LOCALES[number % len(LOCALES)] for number in range(count)]
    return [{"name": _unused_name(fakers[at], names), "locale": at, **_values(fakers, at)} for at in locales]


def _fakers(seed: int) -> dict:
    """One seeded generator per locale. Faker is imported here because the registry imports every module."""
    from faker import Faker

    fakers = {locale: Faker(locale) for locale in LOCALES}
    for number, fake in enumerate(fakers.values()):
        fake.seed_instance(seed * 1000 + number)
    return fakers


def _unused_name(fake, names: set[str]) -> str:
    while True:
        name = _matching(lambda: f"{fake.first_name()} {fake.last_name()}", _NAME)
        if name not in names:
            names.add(name)
            return name


def _values(fakers: dict, locale: str) -> dict[str, str]:
    fake, english = fakers[locale], fakers["en_GB"]
    handle = _matching(fake.user_name, _HANDLE)
    return {
        "city": _matching(fake.city, _CITY),
        "phone": fake.numerify("+1 %##-555-01##"),
        "email": f"{handle}@{fake.random_element(('example.com', 'example.net', 'example.org'))}",
        "iban": fake.iban(),
        "job": _matching(english.job, _JOB).lower(),
        "blood_type": fake.random_element(BLOOD_TYPES),
    }


def _matching(draw, pattern: re.Pattern[str]) -> str:
    """The first draw that matches the whole pattern."""
    while not pattern.fullmatch(text := draw()):
        continue
    return text
