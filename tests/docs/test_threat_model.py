"""Threat model and attack suite say the same: each attack has its test, and each component named has noticed."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from tests.attacks.catching import COMPONENTS
from tests.docs import guide

THREAT_MODEL = guide.DOCS / "threat-model.md"
ATTACKS = Path(__file__).parents[1] / "attacks"


def _told() -> list[tuple[str, list[str]]]:
    """Attacks and components of all tables, in order."""
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| [^|]+ \|$", THREAT_MODEL.read_text(), re.MULTILINE)
    return [(attack, components.split(", ")) for attack, components in rows]


def _shown() -> dict[str, tuple[str, ...]]:
    """Components by attack, as the tests are marked."""
    found = {}
    for path in sorted(ATTACKS.glob("test_*_attacks.py")):
        module = importlib.import_module(f"tests.attacks.{path.stem}")
        for name, test in vars(module).items():
            if name.startswith("test_"):
                assert hasattr(test, "caught_by"), f"{name} says not who catches it"
                found[name.removeprefix("test_")] = test.caught_by
    return found


def test_each_attack_has_its_test_and_each_test_its_row() -> None:
    told, shown = _told(), _shown()
    assert len(told) > 40
    assert len(dict(told)) == len(told), "an attack stands in two rows"
    assert {attack: set(components) for attack, components in told} == {
        attack: set(components) for attack, components in shown.items()
    }


def test_components_are_those_of_the_table_and_in_its_order() -> None:
    rows = guide.tables(THREAT_MODEL.read_text(), "Who catches")
    assert tuple(row[0].strip("*") for row in rows[1:]) == COMPONENTS
    for attack, components in _told():
        assert components == sorted(components, key=COMPONENTS.index), attack


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)", THREAT_MODEL.read_text()):
        assert (THREAT_MODEL.parent / link).exists(), link
