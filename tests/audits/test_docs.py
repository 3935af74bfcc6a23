"""docs/audit.md's table of attacks is the registry's."""

from __future__ import annotations

from pathlib import Path

from lavis.common.registry import registry

PAGE = Path(__file__).resolve().parents[2] / "docs" / "audit.md"


def test_the_table_is_the_registrys() -> None:
    rows = [line.split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    table = {row[0].strip("| `"): row[1:] for row in rows if len(row) == 8}
    assert sorted(table) == registry.names("attack")
    for name, (about, reference, needs, _, undoes, _, _) in table.items():
        attack = registry.get_attack_class(name)
        assert (about, reference, needs) == (attack.about, attack.reference, ", ".join(attack.needs)), name
        assert undoes == ("yes" if attack.undoes_maps else f"no: {attack.why_not}"), name
