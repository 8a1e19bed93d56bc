"""What keeps an audit from being made to work for ever, or to take all memory, by what a log says of itself."""

from __future__ import annotations

from lineage_ledger.errors import LineageError
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.note import Note
from lineage_ledger.formats.tiles import TILE_WIDTH

MAX_SIZE = 1 << 36
"""Entries of a log that is taken on. What a checkpoint says costs nothing, and what is planned for it costs memory."""
RUN_BUNDLES = TILE_WIDTH
"""Bundles that a process of an audit takes at a time: those below one tile of level 1."""
_MISSING_ALLOWED = 1_000


def size_said(note: bytes) -> int:
    """The size that a checkpoint says, nobody having looked at its signature; 0 if it cannot be read.

    Raises `OSError` beyond `MAX_SIZE`.
    """
    try:
        size = Checkpoint.parse(Note.parse(note).text).size
    except LineageError:
        return 0
    if size > MAX_SIZE:
        raise OSError(f"the checkpoint is over {size:,} entries; this release audits up to {MAX_SIZE:,}")
    return size


class Absences:
    """Bundles that were there, and those that were not: of a log that consists of the latter, a few findings do."""

    def __init__(self) -> None:
        self._found = self._missing = 0

    def found(self) -> None:
        """One more is there."""
        self._found += 1

    def missing(self) -> None:
        """One more is not. Raises `OSError` when there are many more of these than of those that are there."""
        self._missing += 1
        if self._missing > self._found + _MISSING_ALLOWED:
            raise OSError(f"{self._missing} bundles are missing, and {self._found} are there: given up")
