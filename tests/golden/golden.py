"""What golden files must say, for as long as there are releases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from tests.cli.recorded_ledger import run

FOLDER = Path(__file__).parent


class Golden(NamedTuple):
    """A file of a release, and what the release that made it said of it."""

    name: str
    document: dict[str, Any]


def goldens(folder: Path) -> list[Golden]:
    """What the release said of each of its files."""
    return [Golden(**each) for each in json.loads((folder / "expected.json").read_text())]


def document_of(folder: Path, name: str) -> dict[str, Any]:
    """What this release says of a file, given the key that was pinned before any change. It must verify."""
    key = ("--key", str(folder / "ledger.vkey"))
    policy = ("--witness-policy", str(folder / "witness.policy")) if name.startswith("witnessed") else ()
    if name == "log":
        arguments = ("audit", "--folder", folder / name, *key, "--checkpoint", folder / "old.checkpoint")
    else:
        arguments = ("verify", folder / name, *key, *policy)
    result = run(*arguments, "--json")
    assert result.exit_code == 0, f"{name} does not verify: {result.output}"
    document: dict[str, Any] = json.loads(result.stdout)
    return {key: value for key, value in document.items() if key not in _CHANGING}


_CHANGING = {"seconds", "entries_per_second", "source", "processes", "limits", "meaning"}
"""How long it took, where the file lies, and sentences that may be worded better."""


def is_within(old: object, new: object) -> bool:
    """Whether `new` says all that `old` said; it may say more."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(key in new and is_within(value, new[key]) for key, value in old.items())
    if isinstance(old, list):
        return isinstance(new, list) and len(old) == len(new) and all(map(is_within, old, new))
    return old == new
