"""Names alone, values alone, and both in the other order: which half of an association is left?

X with c' = name;  c' = value;  c' = value + name
"""

from __future__ import annotations

from lavis.audits.rewording import Reword, Rewording, filled
from lavis.common.registry import registry


@registry.register_attack("parts_alone")
class PartsAlone(Rewording):
    """Equal names and values of other people compete as everything else."""

    about = "the name alone, the value alone, the value before the name"
    reference = "SALMUBench's CoreAssoc, arXiv 2603.26316"
    order = 43

    def wordings(self) -> dict[str, Reword]:
        return {
            "name": lambda one: one.name,
            "value": lambda one: one.value,
            "value name": filled("{value} {name}"),
        }
