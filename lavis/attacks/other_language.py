"""Another language: the name and the value within a sentence of another language.

X with c' = a template in German, Spanish or French, filled with name and value
"""

from __future__ import annotations

from lavis.audits.rewording import Reword, Rewording
from lavis.common.registry import registry

TEMPLATES = {
    "German": "ein Bild von {name}, dazu gehört {value}",
    "Spanish": "una foto de {name}, le pertenece {value}",
    "French": "une photo de {name}, à qui appartient {value}",
}


@registry.register_attack("other_language")
class OtherLanguage(Rewording):
    """Three languages."""

    about = "name and value in a German, Spanish or French sentence"
    reference = "Choi et al., arXiv 2406.12354"
    order = 42

    def wordings(self) -> dict[str, Reword]:
        def filled(template: str) -> Reword:
            return lambda one: template.format(name=one.name, value=one.value) if one.name and one.value else ""

        return {language: filled(template) for language, template in TEMPLATES.items()}
