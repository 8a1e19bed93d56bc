"""Rotations of a running ledger, as `lineage ledger-key rotate` does them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from lineage_ledger.cli.app import lineage


def run(*arguments: str | Path, status: int = 0) -> Any:
    """The JSON document that a command prints."""
    result = CliRunner().invoke(lineage, [*map(str, arguments), "--json"])
    assert result.exit_code == status, (result.output, result.exception)
    return json.loads(result.output)


def rotate(data: Path, *options: str | Path) -> dict[str, Any]:
    """What the command says: `verifier_key`, `replaced` and `index`."""
    document: dict[str, Any] = run("ledger-key", "rotate", "--data", data, *options)
    return document
