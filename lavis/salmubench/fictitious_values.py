"""Fictitious values that the value AUC compares with the true one: from unseen personas, or from Faker."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any

from lavis.common.seed import derived_seed

log = logging.getLogger(__name__)

COUNT = 200
LOCALE = "en_US"
HINT = "pip install faker"
BLOOD = ("A+", "A-", "B+", "B-", "AB+", "AB-", "O+", "O-")
FIELDS = {
    "email": ("email", "emailaddress", "mail"),
    "phone_number": ("phone", "phonenumber", "telephone", "mobile"),
    "iban": ("iban", "bankaccount", "accountnumber"),
    "city": ("city", "hometown", "residence"),
    "country": ("country", "nationality"),
    "address": ("address", "streetaddress", "homeaddress"),
    "job": ("job", "jobtitle", "occupation", "profession"),
    "company": ("company", "employer"),
    "ssn": ("ssn", "socialsecuritynumber", "nationalid"),
    "credit_card_number": ("creditcard", "creditcardnumber"),
    "blood": ("blood", "bloodtype", "bloodgroup"),
}
Values = Callable[[str, str | None], list[str]]  # (field, locale) → its distinct values, sorted


def persona_values(personas: Mapping[str, Mapping[str, Any]]) -> Values:
    """Values of a field among the data set's unseen personas, for any locale."""

    @functools.cache
    def of_field(field: str) -> list[str]:
        return sorted({str(persona[field]) for persona in personas.values() if field in persona})

    return lambda field, locale: of_field(field)


class FakerValues:
    """Faker's values of a field in a locale (en_US by default), fixed by the seed.

    `real` values are avoided, except blood types: there are only eight, and all may be real. A field or locale that
    Faker does not know has no values, which is logged once. Raises ImportError without Faker.
    """

    def __init__(self, real: Collection[str], seed: int = 42) -> None:
        import faker

        self._faker, self.real, self.seed = faker, set(real), seed
        self._drawn: dict[tuple[str, str], list[str]] = {}

    def __call__(self, field: str, locale: str | None) -> list[str]:
        key = (field, str(locale or LOCALE))
        if key not in self._drawn:
            self._drawn[key] = self._draw(*key)
            if not self._drawn[key]:
                log.warning("value AUC: Faker has no values for field '%s' (%s); its pairs are left out", *key)
        return self._drawn[key]

    def _draw(self, field: str, locale: str) -> list[str]:
        plain = "".join(letter for letter in field.lower() if letter.isalnum())
        provider = next((name for name, aliases in FIELDS.items() if plain in aliases), None)
        if provider is None:
            return []
        if provider == "blood":
            return sorted(BLOOD)
        try:
            fake = self._faker.Faker(locale)
            fake.seed_instance(derived_seed(self.seed, "salmubench", "faker", field, locale))
            make = getattr(fake, provider)
        except (AttributeError, ImportError, ValueError):
            return []
        drawn = {str(make()).replace("\n", ", "): None for _ in range(COUNT)}
        return sorted(value for value in drawn if value not in self.real)
