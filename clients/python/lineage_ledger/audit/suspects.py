"""What is suspect: entries that a key sealed which was declared compromised, and that came on record too late for it.

Whether a key is suspect since some time is only known when all entries went by, so the seals from then on are looked at
once more; most ledgers have no such key and are read once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from lineage_ledger import kernel
from lineage_ledger.audit.facts import ProducerFacts
from lineage_ledger.audit.seen import SeenBundles
from lineage_ledger.audit.source import BUNDLE_WIDTH
from lineage_ledger.formats import seal, strict

_MAX_MARKS: Final = 1_024
_BLOCK_TAG, _SEAL_TAG = 0x4A, 0x12


@dataclass(slots=True)
class Suspect:
    """A key that was declared compromised, and how much of what it sealed is suspect."""

    public_key: str
    """Hex."""
    compromised_index: int
    suspect_since_unix_ns: int
    predictions: int = 0
    statements: int = 0


class BlockMarks:
    """Where some of the blocks are, and when they were written; few of them, however many there are."""

    def __init__(self) -> None:
        self._marks: list[tuple[int, int]] = []
        self._every = 1
        self._seen = 0

    def note(self, time_unix_ns: int, index: int) -> None:
        """A block, in order of index."""
        if self._seen % self._every == 0:
            self._marks.append((index, time_unix_ns))
            if len(self._marks) > _MAX_MARKS:
                self._marks = self._marks[::2]
                self._every *= 2
        self._seen += 1

    def before(self, time_unix_ns: int) -> int:
        """Index of a block such that it and all before it are from before that time; 0 if none is known."""
        return max((index for index, time in self._marks if time < time_unix_ns), default=0)


def count_suspects(
    seen: SeenBundles, size: int, read_from: int, producers: Iterable[ProducerFacts], marks: BlockMarks
) -> list[Suspect]:
    """What each compromised key sealed, in batches from index `read_from` on, in blocks from its time on.

    Ascending by public key. Raises `LineageError` for a bundle that cannot be read, or that is not as it was.
    """
    suspects = {
        each.public_key: Suspect(each.public_key.hex(), each.compromised_index, each.suspect_since_unix_ns)
        for each in producers
        if each.compromised_index
    }
    if not suspects:
        return []
    start = max(read_from, marks.before(min(each.suspect_since_unix_ns for each in suspects.values())))
    look = _Look(suspects, read_from)
    for number in range(start // BUNDLE_WIDTH, (size + BUNDLE_WIDTH - 1) // BUNDLE_WIDTH):
        packed = seen.packed(number)
        for place, offset, length in kernel.scan(packed).others:
            look.entry(number * BUNDLE_WIDTH + place, bytes(packed[offset : offset + length]))
    return [suspects[public_key] for public_key in sorted(suspects)]


class _Look:
    """Takes seals, and the blocks that say when they came on record."""

    def __init__(self, suspects: Mapping[bytes, Suspect], read_from: int) -> None:
        self._suspects = suspects
        self._read_from = read_from
        self._pending: list[tuple[Suspect, int, int]] = []

    def entry(self, index: int, entry: bytes) -> None:
        # Most entries are told from their bytes to be of no matter here, which spares taking them apart.
        if entry[0] == _SEAL_TAG and any(public_key in entry for public_key in self._suspects):
            body = seal.parse_seal(entry).body
            suspect = self._suspects.get(body.public_key)
            if suspect is not None and index >= self._read_from:
                predictions = sum(binding.count for binding in body.bindings)
                self._pending.append((suspect, predictions, body.count - predictions))
        elif entry[0] == _BLOCK_TAG and self._pending:
            time_unix_ns = strict.parse_entry(entry).block.time_unix_ns
            for suspect, predictions, statements in self._pending:
                if time_unix_ns >= suspect.suspect_since_unix_ns:
                    suspect.predictions += predictions
                    suspect.statements += statements
            self._pending.clear()
