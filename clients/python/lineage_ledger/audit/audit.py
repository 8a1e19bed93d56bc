"""The audit: one pass over all bundles in order of index, in memory that does not grow with the entries."""

from __future__ import annotations

import time
from collections.abc import Callable

from lineage_ledger import kernel
from lineage_ledger.audit import bundles
from lineage_ledger.audit.heads import Head, check_heads, parse_head
from lineage_ledger.audit.report import Finding, Report
from lineage_ledger.audit.rules import Rules
from lineage_ledger.audit.source import BUNDLE_WIDTH, LogSource, Observer, Since
from lineage_ledger.audit.tree import TreeCheck
from lineage_ledger.errors import LineageError, MalformedError
from lineage_ledger.formats.merkle import HASH_SIZE
from lineage_ledger.formats.note import Verifier
from lineage_ledger.formats.packed import frame
from lineage_ledger.kernel import ScannedBatch

_PREDICTION_TAG = 0x0A


def audit(
    source: LogSource,
    verifier: Verifier,
    known_checkpoint: bytes | None = None,
    progress: Callable[[int, int], None] | None = None,
    observer: Observer | None = None,
    *,
    since: Since | None = None,
    processes: int = 1,
) -> Report:
    """Re-check everything in `source` and compare with what `verifier`'s key signed.

    `known_checkpoint` is a checkpoint that somebody else kept: only with one is it seen that the newest entries were
    cut off; `since` is one, too, up to which the user wants less done. `progress` is told the entries done and the
    entries there are. `processes` share the work, if the source can be opened again. Does not raise: what cannot be carried out is a failure in the report, and never a pass.
    """
    report = Report(origin=verifier.name, processes=processes)
    started = time.monotonic()
    try:
        _Audit(source, verifier, report, observer).run(known_checkpoint, since, progress)
    except Exception as error:  # noqa: BLE001 - whatever it is, a check that broke off must not count as passed
        report.failures.append(f"the audit broke off: {type(error).__name__}: {error}")
    report.seconds = time.monotonic() - started
    return report


class _Audit:
    def __init__(self, source: LogSource, verifier: Verifier, report: Report, observer: Observer | None) -> None:
        self._source = source
        self._verifier = verifier
        self._report = report
        self._observer = observer

    def run(
        self,
        known_checkpoint: bytes | None,
        since: Since | None,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        report, source = self._report, self._source
        heads = self._heads(known_checkpoint, since)
        size = source.size
        sizes = {head.checkpoint.size for head in heads}
        signed = heads[0].checkpoint if heads and not heads[0].kept_elsewhere else None
        report.size = min(size, signed.size) if signed else 0
        report.unsigned = size - report.size
        self._tree = TreeCheck(source, signed.size if signed else 0, signed.root if signed else b"", sizes, report.add)
        self._rules = Rules(self._verifier.name, sizes, self._observer, report.add)
        report.counts = self._rules.counts
        for number in range((size + BUNDLE_WIDTH - 1) // BUNDLE_WIDTH):
            self._bundle(number, min(BUNDLE_WIDTH, size - number * BUNDLE_WIDTH))
            if progress is not None:
                progress(min((number + 1) * BUNDLE_WIDTH, size), size)
        self._tree.finish()
        facts = self._rules.finish()
        self._find_conflicting_seals()
        report.not_checked += self._rules.authority.not_checked
        check_heads(heads, self._verifier, size, self._tree.roots, self._rules, report)
        if self._observer is not None:
            self._observer.finish(facts, report)

    def _heads(self, known_checkpoint: bytes | None, since: Since | None) -> list[Head]:
        """The checkpoints to check, the ledger's own first."""
        heads = []
        for name, note in self._source.checkpoints:
            try:
                heads.append(parse_head(note, name))
            except LineageError as error:
                self._report.add(Finding("checkpoint", name, str(error), "a signed checkpoint"))
        if not heads:
            self._report.add(
                Finding("checkpoint", "checkpoint", "there is none that can be read", "a signed checkpoint")
            )
        if known_checkpoint is None and since is None:
            self._report.not_checked.append(
                "truncation: cannot be checked without a checkpoint that somebody else kept (--checkpoint)"
            )
        for kept, name in ((known_checkpoint, "checkpoint from elsewhere"), (since, "checkpoint to go on from")):
            if kept is None:
                continue
            try:
                heads.append(parse_head(kept, name, kept_elsewhere=True))
            except LineageError as error:
                self._report.failures.append(f"the {name} cannot be used: {error}")
        return heads

    def _bundle(self, number: int, width: int) -> None:
        first_index = number * BUNDLE_WIDTH
        try:
            stored, packed = self._source.bundle(number)
        except LineageError as error:
            self._report.add(Finding("bundle_missing", f"bundle {number}", str(error), index=first_index))
            self._unreadable(number, width)
            return
        hashes = stored
        if stored is not None and len(stored) != width * HASH_SIZE:
            found = f"{len(stored)} bytes of leaf hashes"
            self._report.add(Finding.at_tile(0, number, "tile_changed", found, f"{width * HASH_SIZE}"))
            hashes = None
        if (hashes is not None or not self._source.has_tiles) and self._good_bundle(number, width, hashes, packed):
            return
        self._damaged_bundle(number, width, hashes, packed)

    def _good_bundle(self, number: int, width: int, stored: bytes | None, packed: bytes) -> bool:
        """The fast way, for a bundle whose entries hash to what is stored; False if this is none, and nothing done."""
        try:
            scanned = kernel.scan(packed)
        except MalformedError:
            return False
        if scanned.count != width or scanned.leaf_hashes != (stored or scanned.leaf_hashes):
            return False
        stored = scanned.leaf_hashes
        first_index = number * BUNDLE_WIDTH
        if not scanned.others:
            self._tree.bundle(number, stored, stored, width)
            self._rules.predictions(first_index, scanned)
            return True
        self._tree.bundle(number, stored, stored, width)
        place = 0
        for run, (other_place, offset, length) in _runs(packed, scanned):
            if run is not None:
                self._rules.predictions(first_index + place, run)
            if length:
                leaf_hash = stored[other_place * HASH_SIZE : (other_place + 1) * HASH_SIZE]
                self._rules.entry(first_index + other_place, packed[offset : offset + length], leaf_hash)
            place = other_place + 1
        return True

    def _damaged_bundle(self, number: int, width: int, stored: bytes | None, packed: bytes) -> None:
        """The slow way: entry by entry, telling what was changed from what was not."""
        first_index = number * BUNDLE_WIDTH
        bundle = bundles.read(packed, width, stored)
        for place, said, length in bundle.wrong_lengths:
            found = f"{said} is stored as its length"
            self._report.add(Finding.at_entry(first_index + place, "entry_length", found, str(length)))
        if bundle.unread_from is not None:
            index = first_index + bundle.unread_from
            found = f"its bytes, and those up to index {first_index + width - 1}, cannot be told apart"
            self._report.add(Finding.at_entry(index, "entry_unreadable", found))
        if bundle.trailing_bytes:
            found = f"{bundle.trailing_bytes} bytes behind its last entry"
            self._report.add(Finding("bundle_length", f"bundle {number}", found, index=first_index + width - 1))
        if stored is None and bundle.unread_from is not None:
            self._unreadable(number, width)
            return
        changed = self._tree.bundle(number, bundle.hashes, stored, width)
        for place, entry in enumerate(bundle.entries):
            at = slice(place * HASH_SIZE, (place + 1) * HASH_SIZE)
            if entry is None or place in changed:
                self._rules.unusable(first_index + place, (stored or bundle.hashes)[at])
            else:
                self._single(first_index + place, entry, bundle.hashes[at])

    def _single(self, index: int, entry: bytes, leaf_hash: bytes) -> None:
        if entry[0] != _PREDICTION_TAG:
            self._rules.entry(index, entry, leaf_hash)
            return
        try:
            scanned = kernel.scan(frame(entry))
        except MalformedError as error:
            self._report.add(Finding.at_entry(index, "encoding", str(error)))
            self._rules.unusable(index, leaf_hash)
            return
        self._rules.predictions(index, scanned)

    def _unreadable(self, number: int, width: int) -> None:
        """Nothing is known of a bundle but what the tree above says of it."""
        self._tree.bundle(number, None, None, width)
        for place in range(width):
            self._rules.unusable(number * BUNDLE_WIDTH + place, None)

    def _find_conflicting_seals(self) -> None:
        """Look for seals that conflicts name and that are not the newest of their chain: a second look, if need be."""
        wanted = dict(self._rules.chains.wanted)
        for number in range((max(wanted.values(), default=0) + BUNDLE_WIDTH - 1) // BUNDLE_WIDTH):
            try:
                hashes, packed = self._source.bundle(number)
                if hashes is None:
                    hashes = kernel.leaf_hashes(packed)
            except LineageError:
                continue
            for at in range(0, len(hashes), HASH_SIZE):
                conflict_index = wanted.get(hashes[at : at + HASH_SIZE])
                if conflict_index is not None and number * BUNDLE_WIDTH + at // HASH_SIZE < conflict_index:
                    del wanted[hashes[at : at + HASH_SIZE]]
        for conflict_index in wanted.values():
            self._rules.chains.not_in_log(conflict_index)


def _runs(packed: bytes, scanned: ScannedBatch) -> list[tuple[ScannedBatch | None, tuple[int, int, int]]]:
    """The predictions between the other entries, scanned by themselves, each with the other entry behind it.

    The last run has no entry behind it, which its length of 0 says.
    """
    runs: list[tuple[ScannedBatch | None, tuple[int, int, int]]] = []
    place = start = 0
    view = memoryview(packed)
    for other in (*scanned.others, (scanned.count, len(packed) + 2, 0)):
        end = other[1] - 2
        run = kernel.scan(view[start:end]) if other[0] > place else None
        runs.append((run, other))
        place, start = other[0] + 1, other[1] + other[2]
    return runs
