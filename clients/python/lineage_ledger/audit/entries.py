"""Entries led to the rules: predictions many at a time, all others one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lineage_ledger import kernel
from lineage_ledger.audit.report import Finding
from lineage_ledger.audit.rules import Rules
from lineage_ledger.errors import MalformedError
from lineage_ledger.formats import strict
from lineage_ledger.formats.merkle import HASH_SIZE
from lineage_ledger.formats.packed import frame
from lineage_ledger.kernel import ScannedBatch

_PREDICTION_TAG = 0x0A


def feed(rules: Rules, first_index: int, packed: bytes, scanned: ScannedBatch) -> None:
    """Packed entries from `first_index` on, whose scan found nothing wrong."""
    for place, run, entry in pieces(packed, scanned):
        if run is not None:
            rules.predictions(first_index + place, run)
        else:
            leaf_hash = scanned.leaf_hashes[place * HASH_SIZE : (place + 1) * HASH_SIZE]
            rules.entry(first_index + place, entry, leaf_hash)


def pieces(packed: bytes, scanned: ScannedBatch) -> Iterator[tuple[int, ScannedBatch | None, bytes]]:
    """Runs of predictions, scanned by themselves, and the entries of other kinds between them, each with its place."""
    if not scanned.others:
        yield 0, scanned, b""
        return
    place = start = 0
    view = memoryview(packed)
    for other, offset, length in scanned.others:
        if other > place:
            yield place, kernel.scan(view[start : offset - 2]), b""
        yield other, None, packed[offset : offset + length]
        place, start = other + 1, offset + length
    if scanned.count > place:
        yield place, kernel.scan(view[start:]), b""


def feed_single(rules: Rules, index: int, entry: bytes, leaf_hash: bytes, add: Callable[[Finding], None]) -> None:
    """One entry of any kind, which may be malformed."""
    try:
        strict.check_entry(entry)
    except MalformedError as error:
        add(Finding.at_entry(index, "encoding", str(error)))
        rules.unusable(index, leaf_hash)
        return
    if entry[0] == _PREDICTION_TAG:
        rules.predictions(index, kernel.scan(frame(entry)))
    else:
        rules.entry(index, entry, leaf_hash)
