"""An audit that goes on while its ledger grows: what a monitor drives, with entries from wherever it gets them."""

from __future__ import annotations

from lineage_ledger import kernel
from lineage_ledger.audit.edge import EMPTY
from lineage_ledger.audit.entries import feed, feed_single
from lineage_ledger.audit.facts import Counts
from lineage_ledger.audit.heads import check_heads, parse_head
from lineage_ledger.audit.report import Finding, Report
from lineage_ledger.audit.rules import Rules
from lineage_ledger.audit.state import AuditState
from lineage_ledger.errors import MalformedEntryError
from lineage_ledger.formats import packed as packed_entries
from lineage_ledger.formats.merkle import HASH_SIZE
from lineage_ledger.formats.note import Verifier


class IncrementalAudit:
    """Feed it all entries up to a checkpoint, in order of index; hold the checkpoint against them; go on.

        audit = IncrementalAudit(verifier, AuditState.parse(file, verifier))   # or without a state: from the genesis
        while audit.size < checkpoint.size:
            findings = audit.feed(packed entries from index audit.size on)     # up to checkpoint.size, no further
        findings = audit.check(signed checkpoint)
        state = audit.state()                                                  # what to keep; None if it is not clean

    Findings are those of `audit` of a source without tiles, but for one: that a conflict's first seal is in the log is
    not looked for among older entries, which `not_checked` then says. Memory grows with chains and producers, not with
    entries. Not thread-safe.
    """

    def __init__(self, verifier: Verifier, state: AuditState | None = None) -> None:
        """Begin at the genesis, or behind the entries of a state of this verifier's ledger."""
        self._verifier = verifier
        self._found: list[Finding] = []
        self._rules = Rules(verifier.name, (), None, self._add)
        self._edge = EMPTY
        self._checked = (-1, b"")
        self._is_clean = True
        if state is not None:
            self._rules.resume(state.rules, state.size)
            self._edge = state.edge
            self._checked = (state.size, state.note)

    @property
    def size(self) -> int:
        """Entries that went by: the index of the entry to feed next."""
        return self._edge.size

    @property
    def counts(self) -> Counts:
        """Of all entries that went by."""
        return self._rules.counts

    @property
    def not_checked(self) -> list[str]:
        """What could not be told so far."""
        wanted = [
            f"conflict at index {index}: whether its first seal is in the log, which an audit of all entries tells"
            for index in self._rules.chains.wanted.values()
        ]
        return [*self._rules.authority.not_checked, *wanted]

    def feed(self, packed: bytes) -> list[Finding]:
        """Check the next entries, at most 16,385 and 4 MiB of them; returns what was found.

        Raises `MalformedError` if the bytes do not split into entries; then nothing was taken.
        """
        try:
            scanned = kernel.scan(packed)
        except MalformedEntryError:
            hashes = kernel.leaf_hashes(packed)
            for place, (offset, length) in enumerate(packed_entries.spans(packed)):
                leaf_hash = hashes[place * HASH_SIZE : (place + 1) * HASH_SIZE]
                feed_single(self._rules, self.size + place, packed[offset : offset + length], leaf_hash, self._add)
        else:
            hashes = scanned.leaf_hashes
            feed(self._rules, self.size, packed, scanned)
        self._edge = self._edge.extended(hashes)
        return self._taken()

    def check(self, signed: bytes) -> list[Finding]:
        """Hold a checkpoint over exactly the entries that went by against them; returns what was found.

        Raises `MalformedError` if it is none, and `ValueError` if it is of another size.
        """
        head = parse_head(signed, "checkpoint")
        if head.checkpoint.size != self.size:
            raise ValueError(f"a checkpoint over {head.checkpoint.size} entries cannot be held against {self.size}")
        if self._rules.newest_block_end == self.size:
            self._rules.ended_by_block = {self.size}
        report = Report()
        check_heads([head], self._verifier, self.size, {self.size: self._edge.root()}, self._rules, report)
        for finding in report.findings:
            self._add(finding)
        self._checked = (self.size, signed)
        return self._taken()

    def state(self) -> AuditState | None:
        """What another one can go on from; None if anything was found, or no checkpoint is over these entries."""
        size, note = self._checked
        return AuditState(note, self._edge, self._rules.state()) if self._is_clean and size == self.size else None

    def _add(self, finding: Finding) -> None:
        self._is_clean = False
        self._found.append(finding)

    def _taken(self) -> list[Finding]:
        found, self._found = self._found, []
        return found
