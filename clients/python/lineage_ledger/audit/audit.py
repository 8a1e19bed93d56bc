"""The audit: one pass over all bundles in order of index, in memory that does not grow with the entries."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat
from typing import Final

from lineage_ledger import kernel
from lineage_ledger.audit import bundles, workers
from lineage_ledger.audit.edge import EMPTY
from lineage_ledger.audit.entries import feed, feed_single
from lineage_ledger.audit.heads import Head, check_heads, check_witnesses, gather
from lineage_ledger.audit.local import Digest, lead
from lineage_ledger.audit.observer import Observer
from lineage_ledger.audit.report import Finding, Report
from lineage_ledger.audit.rules import Rules
from lineage_ledger.audit.source import BUNDLE_WIDTH, LogSource
from lineage_ledger.audit.state import AuditState, RulesState, Since
from lineage_ledger.audit.suspects import count_suspects
from lineage_ledger.audit.tree import TreeCheck
from lineage_ledger.errors import LineageError, MalformedError
from lineage_ledger.formats.merkle import HASH_SIZE
from lineage_ledger.formats.note import Verifier
from lineage_ledger.formats.witness_policy import WitnessPolicy
from lineage_ledger.kernel import ScannedBatch

MAX_PROCESSES: Final = 8
# With less than this left to do by one process, others take longer to start than they save.
_MIN_SHARED_S: Final = 2.0
# As many bundles as hashes are in a tile, so that a run ends where a stored tile is compared.
_RUN_BUNDLES: Final = 256

Progress = Callable[[int, int], None]


def audit(
    source: LogSource,
    verifier: Verifier,
    known_checkpoint: bytes | None = None,
    progress: Progress | None = None,
    observer: Observer | None = None,
    *,
    since: Since | None = None,
    processes: int | None = 1,
    witness_policy: WitnessPolicy | None = None,
) -> Report:
    """Re-check everything in `source` and compare with what `verifier`'s key signed.

    `known_checkpoint` is a checkpoint that somebody else kept: only with one is it seen that the newest entries were
    cut off. `since` is one, too, up to which less is done (see `Since`). `progress` is told the entries done and the
    entries there are. `processes` share the work of a source that can be opened again; None: one for each CPU, at most
    8, or one if there is little to do, as the first entries tell. One of the ledger's own checkpoints must satisfy the
    `witness_policy`, if there is one. Does not raise: what cannot be carried out is a
    failure in the report, and never a pass.
    """
    report = Report(origin=verifier.name)
    started = time.monotonic()
    try:
        _Audit(source, verifier, report, observer, since).run(known_checkpoint, progress, processes, witness_policy)
    except Exception as error:  # noqa: BLE001 - whatever it is, a check that broke off must not count as passed
        report.failures.append(f"the audit broke off: {type(error).__name__}: {error}")
    report.seconds = time.monotonic() - started
    return report


class _Audit:
    def __init__(
        self, source: LogSource, verifier: Verifier, report: Report, observer: Observer | None, since: Since | None
    ) -> None:
        self._source = source
        self._verifier = verifier
        self._report = report
        self._observer = observer
        self._since = since
        self._resumed = since if isinstance(since, AuditState) else None
        self._read_from = self._resumed.size if self._resumed else 0
        self._rules_state: RulesState | None = self._resumed.rules if self._resumed else None

    def run(
        self,
        known_checkpoint: bytes | None,
        progress: Progress | None,
        processes: int | None,
        witness_policy: WitnessPolicy | None,
    ) -> None:
        report, source = self._report, self._source
        size = source.size
        heads = gather(source.checkpoints, known_checkpoint, self._since, report)
        signed = heads[0].checkpoint if heads and not heads[0].kept_elsewhere else None
        self._signed_size = signed.size if signed else 0
        report.size = min(size, self._signed_size)
        report.unsigned = size - report.size
        report.covered.tiles = source.has_tiles
        if self._observer is not None:
            self._observer.start(report.size)
        self._prepare(heads, signed.root if signed else b"")
        if size >= self._read_from:
            self._pass(size, progress, processes)
            self._tree.finish()
        facts = self._rules.finish()
        report.entries_read = max(size - self._read_from, 0)
        self._find_conflicting_seals()
        self._count_suspects(size)
        report.not_checked += self._rules.authority.not_checked
        check_heads(heads, self._verifier, size, self._tree.roots, self._rules, report, self._read_from)
        if witness_policy is not None:
            check_witnesses(heads, witness_policy, self._verifier, report)
        if self._observer is not None and size >= self._read_from:
            self._observer.finish(facts, report)
        if self._tree.signed_edge is not None and self._rules_state is not None and not report.exit_status:
            report.end = AuditState(heads[0].note, self._tree.signed_edge, self._rules_state)

    def _prepare(self, heads: list[Head], signed_root: bytes) -> None:
        """Tree and rules as they stand before the first entry that is read."""
        report = self._report
        sizes = {head.checkpoint.size for head in heads}
        edge = self._resumed.edge if self._resumed else EMPTY
        since_size = next((head.checkpoint.size for head in heads if head.is_since), 0)
        report.since = since_size if self._since is not None else None
        report.covered.entries_from = self._read_from
        report.covered.signatures_from = since_size
        self._tree = TreeCheck(self._source, self._signed_size, signed_root, sizes, report.add, edge)
        self._rules = Rules(self._verifier.name, sizes, self._observer, report.add, since_size)
        if self._resumed is not None:
            self._rules.resume(self._resumed.rules, self._resumed.size)
            if self._observer is not None:
                self._observer.begin(self._resumed)
        report.counts = self._rules.counts

    def _pass(self, size: int, progress: Progress | None, processes: int | None) -> None:
        runs = list(_runs(self._read_from // BUNDLE_WIDTH, (size + BUNDLE_WIDTH - 1) // BUNDLE_WIDTH))
        if processes is None and runs:
            first, *runs = runs
            started = time.monotonic()
            self._run(first, size, progress)
            left_s = (time.monotonic() - started) / len(first) * sum(map(len, runs))
            processes = min(_cpus(), MAX_PROCESSES) if left_s > _MIN_SHARED_S else 1
        with self._shared(runs, size, processes or 1) as found:
            for numbers in runs:
                digest = next(found) if self._is_plain(numbers, size) else None
                if digest is None:
                    self._run(numbers, size, progress)
                    continue
                self._report.bytes_read += digest.bytes_read
                lead(digest, numbers.start, self._tree, self._rules)
                if progress is not None:
                    progress(numbers.stop * BUNDLE_WIDTH, size)

    def _run(self, numbers: range, size: int, progress: Progress | None) -> None:
        """The bundles of these numbers, one after the other, in this process."""
        for number in numbers:
            self._bundle(number, min(BUNDLE_WIDTH, size - number * BUNDLE_WIDTH))
            if progress is not None:
                progress(min((number + 1) * BUNDLE_WIDTH, size), size)

    def _is_plain(self, numbers: range, size: int) -> bool:
        """Whether other processes may take this run: full bundles, of which nothing but the rules is to be known."""
        start, end = numbers.start * BUNDLE_WIDTH, numbers.stop * BUNDLE_WIDTH
        return end <= size and self._tree.is_plain(start, end)

    @contextmanager
    def _shared(self, runs: list[range], size: int, processes: int) -> Iterator[Iterator[Digest | None]]:
        """What other processes find in the plain ones of the runs; None each where there are no other processes."""
        plain = [numbers for numbers in runs if self._is_plain(numbers, size)]
        reopen = self._source.reopen
        if processes <= 1 or reopen is None or not plain:
            yield repeat(None)
            return
        self._report.processes = processes
        signatures_from = self._report.covered.signatures_from
        with workers.digests(reopen, plain, self._verifier.name, signatures_from, processes) as found:
            yield found

    def _bundle(self, number: int, width: int) -> None:
        first_index = number * BUNDLE_WIDTH
        try:
            stored, packed = self._source.bundle(number)
            self._report.bytes_read += len(packed)
        except LineageError as error:
            self._report.add(Finding("bundle_missing", f"bundle {number}", str(error), index=first_index))
            self._unreadable(number, width)
            return
        hashes = stored
        if stored is not None and len(stored) != width * HASH_SIZE:
            found = f"{len(stored)} bytes of leaf hashes"
            kind = "tile_changed" if stored else "tile_missing"
            self._report.add(Finding.at_tile(0, number, kind, found, f"{width * HASH_SIZE}"))
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
        self._tree.bundle(number, stored, stored, width)
        self._feed(number * BUNDLE_WIDTH, packed, scanned)
        return True

    def _feed(self, first_index: int, packed: bytes, scanned: ScannedBatch) -> None:
        """Lead the entries of a bundle to the rules, and note what these know where the signed tree ends."""
        begin, signed = (
            min(max(size - first_index, 0), scanned.count) for size in (self._read_from, self._signed_size)
        )
        for start, end in ((begin, signed), (max(begin, signed), scanned.count)):
            if start < end:
                self._feed_part(first_index, packed, scanned, start, end)
            if end == signed == self._signed_size - first_index and start < end:
                self._rules_state = self._rules.state()

    def _feed_part(self, first_index: int, packed: bytes, scanned: ScannedBatch, start: int, end: int) -> None:
        if end - start < scanned.count:
            offsets = [*kernel.entry_offsets(packed, 0, 1), len(packed)]
            packed = packed[offsets[start] : offsets[end]]
            scanned = kernel.scan(packed)
        feed(self._rules, first_index + start, packed, scanned)

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
            if first_index + place < self._read_from:
                continue
            at = slice(place * HASH_SIZE, (place + 1) * HASH_SIZE)
            if entry is None or place in changed:
                self._rules.unusable(first_index + place, (stored or bundle.hashes)[at])
            else:
                feed_single(self._rules, first_index + place, entry, bundle.hashes[at], self._report.add)

    def _unreadable(self, number: int, width: int) -> None:
        """Nothing is known of a bundle but what the tree above says of it."""
        self._tree.bundle(number, None, None, width)
        for index in range(max(number * BUNDLE_WIDTH, self._read_from), number * BUNDLE_WIDTH + width):
            self._rules.unusable(index, None)

    def _count_suspects(self, size: int) -> None:
        report = self._report
        producers, marks = self._rules.authority.producers.values(), self._rules.block_marks
        try:
            report.suspect = count_suspects(self._tree.seen, size, self._read_from, producers, marks)
        except LineageError as error:
            # What was found damaged already is no second failure; what was right before, and is not now, is one.
            said = report.not_checked if report.finding_count else report.failures
            said.append(f"how much of what compromised keys sealed is suspect: {error}")

    def _find_conflicting_seals(self) -> None:
        """Look for seals that conflicts name and that are not the newest of their chain: a second look, if need be."""
        wanted = dict(self._rules.chains.wanted)
        for number in range((max(wanted.values(), default=0) + BUNDLE_WIDTH - 1) // BUNDLE_WIDTH):
            is_read = number >= self._read_from // BUNDLE_WIDTH
            try:
                hashes = (
                    self._tree.seen.hashes(number) if is_read else kernel.leaf_hashes(self._source.bundle(number)[1])
                )
            except LineageError:
                continue
            for at in range(0, len(hashes), HASH_SIZE):
                index = number * BUNDLE_WIDTH + at // HASH_SIZE
                conflict_index = wanted.get(hashes[at : at + HASH_SIZE])
                if conflict_index is not None and index < conflict_index:
                    del wanted[hashes[at : at + HASH_SIZE]]
                    if not is_read:
                        what = f"that entry {index} is the first seal of the conflict at index {conflict_index}"
                        self._report.not_checked.append(f"{what}: it lies below what was read")
        for conflict_index in wanted.values():
            self._rules.chains.not_in_log(conflict_index)


def _runs(first: int, end: int) -> Iterator[range]:
    """The numbers of bundles from `first` to `end`, in runs that end where tiles of level 1 do."""
    while first < end:
        stop = min(end, (first // _RUN_BUNDLES + 1) * _RUN_BUNDLES)
        yield range(first, stop)
        first = stop


def _cpus() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
