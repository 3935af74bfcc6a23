"""Values that nobody has, beside which the value AUC asks for the true one: unseen personas', or Faker's."""

from __future__ import annotations

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
Values = Callable[[str, str | None], list[str]]


def persona_values(personas: Mapping[str, Mapping[str, Any]]) -> Values:
    """Values of a field as personas of the data set have them, whatever the locale."""

    def values(field: str, locale: str | None) -> list[str]:
        return [str(persona[field]) for persona in personas.values() if field in persona]

    return values


class FakerValues:
    """Values of a field by Faker, in a locale (en_US by default), the same for the same seed.

    `real` are values to avoid (but of blood types there are eight, and all may be real). A field that Faker has no
    counterpart of, or a locale it does not know, gives none; the log says so once. Raises ImportError without Faker.
    """

    def __init__(self, real: Collection[str], seed: int = 42) -> None:
        import faker

        self._faker, self.real, self.seed = faker, set(real), seed
        self._made: dict[tuple[str, str], list[str]] = {}

    def __call__(self, field: str, locale: str | None) -> list[str]:
        key = (field, str(locale or LOCALE))
        if key not in self._made:
            self._made[key] = self._draw(*key)
            if not self._made[key]:
                log.warning("value AUC: Faker has no values for field '%s' (%s); its pairs are left out", *key)
        return self._made[key]

    def _draw(self, field: str, locale: str) -> list[str]:
        plain = "".join(letter for letter in field.lower() if letter.isalnum())
        provider = next((name for name, aliases in FIELDS.items() if plain in aliases), None)
        if provider is None:
            return []
        if provider == "blood":
            return list(BLOOD)
        try:
            fake = self._faker.Faker(locale)
            fake.seed_instance(derived_seed(self.seed, "salmubench", "faker", field, locale))
            make = getattr(fake, provider)
        except (AttributeError, ImportError, ValueError):
            return []
        drawn = {str(make()).replace("\n", ", "): None for _ in range(COUNT)}
        return [value for value in drawn if value not in self.real]
