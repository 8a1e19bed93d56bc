"""The batch in the making: entries of producers that went by and wait for the seal that closes them."""

from __future__ import annotations

from collections.abc import Callable

from lineage_ledger import kernel
from lineage_ledger.audit.damage import Damage
from lineage_ledger.audit.report import Finding
from lineage_ledger.errors import SealError
from lineage_ledger.formats.merkle import HASH_SIZE
from lineage_ledger.formats.seal import MAX_BATCH_ENTRIES, ParsedSeal, check_batch
from lineage_ledger.kernel import ScannedBatch


class OpenBatch:
    """At most 16,384 entries: their hashes, binding counts and time range."""

    def __init__(self, damage: Damage, add: Callable[[Finding], None]) -> None:
        self._damage = damage
        self._add = add
        self._reported_until = 0
        self._start(0)

    def begin(self, index: int) -> None:
        """The entries before `index` are in batches that were closed."""
        self._start(index)

    def _start(self, index: int) -> None:
        self._first_index = index
        self._hashes = bytearray()
        # Of each row up to the greatest one seen.
        self._binding_counts: list[int] = []
        self._earliest = self._latest = 0
        self._damaged: list[int] = []

    @property
    def _count(self) -> int:
        return len(self._hashes) // HASH_SIZE

    @property
    def _end(self) -> int:
        return self._first_index + self._count

    def add(self, index: int, leaf_hashes: bytes, scanned: ScannedBatch | None = None) -> None:
        """Entries from `index` on with these hashes; `scanned` tells of their predictions, if there are any."""
        if self._count + len(leaf_hashes) // HASH_SIZE > MAX_BATCH_ENTRIES:
            self.flush()
        if not self._hashes:
            self._first_index = index
        self._hashes += leaf_hashes
        if scanned is not None and scanned.binding_counts:
            self._binding_counts += [0] * (len(scanned.binding_counts) - len(self._binding_counts))
            for row, count in enumerate(scanned.binding_counts):
                self._binding_counts[row] += count
            earliest = scanned.earliest_start_time_unix_ns
            self._earliest = min(self._earliest, earliest) if self._earliest else earliest
            self._latest = max(self._latest, scanned.latest_start_time_unix_ns)

    def add_damaged(self, index: int, leaf_hash: bytes | None) -> None:
        """An entry that cannot be used, of whatever kind."""
        self.add(index, leaf_hash or bytes(HASH_SIZE))
        self._damaged.append(index)

    def flush(self) -> None:
        """No seal closes what is there: an entry of the ledger's own follows, or nothing any more."""
        open_from = self._damaged[-1] + 1 if self._damaged else self._first_index
        if open_from < self._end:
            self._unclosed(open_from, self._end)
        self._damage.note_structural(self._damaged)
        self._start(self._end)

    def _unclosed(self, start: int, end: int) -> None:
        self._add(
            Finding.at_entry(start, "unclosed", f"no seal closes the entries {start} to {end - 1} in their own block")
        )
        self._reported_until = end

    def close(self, seal_index: int, seal: ParsedSeal) -> int:
        """Hold the seal at `seal_index` against the entries before it; returns the index of its batch's first entry."""
        body = seal.body
        first = seal_index - body.count
        rest = self._count - body.count
        if rest < 0:
            if max(first, 0) >= self._reported_until:
                found = f"the seal counts {body.count} entries, {self._count} stand before it"
                self._add(Finding.at_entry(seal_index, "count_mismatch", found, chain=body.chain_id))
        elif rest > 0 and first - 1 not in self._damaged:
            self._unclosed(self._damaged_end(first), first)
        if rest >= 0 and first > self._damage.last_hidden_index:
            self._check(seal_index, seal, first, rest)
        self._damage.note_structural([index for index in self._damaged if index < first])
        self._start(seal_index + 1)
        return first

    def _damaged_end(self, before: int) -> int:
        return max((index + 1 for index in self._damaged if index < before), default=self._first_index)

    def _check(self, seal_index: int, seal: ParsedSeal, first: int, rest: int) -> None:
        body = seal.body
        root = kernel.tree_root(bytes(self._hashes[rest * HASH_SIZE :]))
        counts = tuple(self._binding_counts)
        if rest or any(index >= first for index in self._damaged):
            # What the damaged entries, or those before the batch, add to counts and times is not known.
            counts = tuple(binding.count for binding in body.bindings)
            times = (body.earliest_start_time_unix_ns, body.latest_start_time_unix_ns)
        else:
            times = (self._earliest, self._latest)
        try:
            check_batch(seal, ScannedBatch(body.count + 1, b"", counts, *times, (), b""), root)
        except SealError as error:
            self._add(Finding.at_entry(seal_index, error.reason.lower(), str(error), chain=body.chain_id))
