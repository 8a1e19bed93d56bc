"""How the cosignatures of witnesses are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lineage_ledger.cli.output import Line
from lineage_ledger.formats.describe import format_time
from lineage_ledger.formats.witness_policy import Cosignature

_NS_PER_S = 1_000_000_000
_END_OF_YEAR_9999_S = 253_402_300_800


def document(cosignatures: Sequence[Cosignature]) -> list[dict[str, Any]]:
    """As plain data: a witness each, and when it cosigned."""
    return [{"witness": one.witness.verifier.name, "time": _time(one)} for one in cosignatures]


def lines(cosignatures: Sequence[Cosignature]) -> list[Line]:
    """For people, a line each."""
    return [
        (("witnessed", "bold green"), (f": by {one.witness.verifier.name} at {_time(one)}, by its clock", ""))
        for one in cosignatures
    ]


def _time(cosignature: Cosignature) -> str:
    if cosignature.time_unix_s >= _END_OF_YEAR_9999_S:
        return f"{cosignature.time_unix_s} s after 1970"
    return format_time(cosignature.time_unix_s * _NS_PER_S)
