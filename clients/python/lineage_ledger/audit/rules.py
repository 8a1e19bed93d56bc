"""What each entry must be, given all entries before it (proto/README.md, "What an audit checks", 2 to 9)."""

from __future__ import annotations

from collections.abc import Callable, Collection

from lineage_ledger.audit.authority import Authority
from lineage_ledger.audit.batch import OpenBatch
from lineage_ledger.audit.chains import Chains
from lineage_ledger.audit.damage import Damage
from lineage_ledger.audit.report import Counts, Finding
from lineage_ledger.audit.source import BatchFacts, LedgerFacts, Observer
from lineage_ledger.errors import LineageError, MalformedError, SealError
from lineage_ledger.formats import seal, strict
from lineage_ledger.formats.statement import check_attestation_signature
from lineage_ledger.kernel import ScannedBatch
from lineage_ledger.v1 import entry_pb2

_STATEMENTS = frozenset({"artifact", "run", "deployment", "attestation"})


class Rules:
    """Takes every entry once, in order of index; predictions many at a time.

    `block_ends` are the sizes at which a tree must end with a block; those that do are in `ended_by_block`.
    """

    def __init__(
        self, origin: str, block_ends: Collection[int], observer: Observer | None, add: Callable[[Finding], None]
    ) -> None:
        self._origin = origin
        self._add = add
        self._observer = observer
        self._block_ends = frozenset(block_ends)
        self.ended_by_block: set[int] = set()
        self.counts = Counts()
        self.damage = Damage()
        self.authority = Authority(origin, self.damage, add)
        self.chains = Chains(origin, self.damage, add)
        self._batch = OpenBatch(self.damage, add)
        self._block_number = 0
        self._block_time_unix_ns = 0
        self._block_hash = b""
        self._block_index = 0

    def predictions(self, index: int, scanned: ScannedBatch) -> None:
        """Entries from `index` on that are predictions, strictly encoded."""
        self._check_first(index, "prediction")
        self.counts.entries += scanned.count
        self.counts.predictions += scanned.count
        self._batch.add(index, scanned.leaf_hashes, scanned)

    def entry(self, index: int, entry: bytes, leaf_hash: bytes) -> None:
        """One entry of any other kind."""
        try:
            parsed = strict.parse_entry(entry)
        except MalformedError as error:
            self._add(Finding.at_entry(index, "encoding", str(error)))
            self.unusable(index, leaf_hash)
            return
        self.counts.entries += 1
        kind = parsed.WhichOneof("kind") or ""
        self._check_first(index, kind)
        if kind in _STATEMENTS:
            self._statement(index, parsed, leaf_hash)
        elif kind == "seal":
            self._seal(index, entry)
        else:
            self._batch.flush()
            self._own(index, kind, parsed, leaf_hash)

    def unusable(self, index: int, leaf_hash: bytes | None) -> None:
        """An entry that was changed or cannot be read, which is a finding already; `leaf_hash` is what the tree has."""
        self.counts.entries += 1
        self.damage.note(index, leaf_hash)
        self._batch.add_damaged(index, leaf_hash)

    def finish(self) -> LedgerFacts:
        """No more entries."""
        self._batch.flush()
        self.counts.chains = len(self.chains.chains)
        self.counts.producers = len(self.authority.producers)
        return LedgerFacts(self.chains.chains, self.authority.producers, tuple(self.damage.structural))

    def _check_first(self, index: int, kind: str) -> None:
        if index == 0 and kind != "genesis":
            self._add(Finding.at_entry(0, "genesis", f"a {kind}", "the entry at index 0 is the genesis"))

    def _statement(self, index: int, parsed: entry_pb2.Entry, leaf_hash: bytes) -> None:
        self.counts.statements += 1
        self._batch.add(index, leaf_hash)
        if parsed.WhichOneof("kind") == "attestation":
            try:
                check_attestation_signature(parsed.attestation, self._origin)
            except LineageError as error:
                self._add(Finding.at_entry(index, "attestation_signature", str(error)))

    def _seal(self, index: int, entry: bytes) -> None:
        parsed = seal.parse_seal(entry)
        body = parsed.body
        self.counts.seals += 1
        self.counts.lost += sum(lost.count for lost in body.lost)
        self._batch.close(index, parsed)
        try:
            seal.check_seal(parsed, self._origin)
        except SealError as error:
            self._add(Finding.at_entry(index, error.reason.lower(), str(error), chain=body.chain_id))
            if error.reason == "BAD_SIGNATURE":
                # It may be anybody's. A seal that links to it is checked from there on.
                self.damage.note(index, parsed.entry_hash)
                return
        self._check_key(index, parsed)
        chain = self.chains.advance(index, parsed)
        if self._observer is not None:
            self._observer.on_batch(BatchFacts(chain, body.batch_sequence, body.first_number, body.count, index))

    def _check_key(self, index: int, parsed: seal.ParsedSeal) -> None:
        """The key's validity at the batch's first index, which is that of now: no admin's entry lies in a batch."""
        body = parsed.body
        refusal = self.authority.refusal(
            body.public_key,
            opens_chain=not self.chains.knows(body.chain_id),
            block_number=self._block_number + 1,
        )
        if refusal is None:
            return
        kind, found = refusal
        if kind == "unknown_key" and not self.authority.first_mention(index, body.public_key):
            return
        self._add(Finding.at_entry(index, kind, found, chain=body.chain_id))

    def _own(self, index: int, kind: str, parsed: entry_pb2.Entry, leaf_hash: bytes) -> None:
        """An entry that only the ledger writes."""
        if kind == "block":
            self._block(index, parsed.block, leaf_hash)
        elif kind == "genesis":
            self.authority.genesis(index, parsed.genesis)
            self._block_time_unix_ns = parsed.genesis.time_unix_ns if index == 0 else self._block_time_unix_ns
            if index == 0:
                self._block_hash = leaf_hash
        elif kind == "conflict":
            self.counts.conflicts += 1
            self.chains.conflict(index, parsed.conflict)
        elif kind == "removal":
            self.authority.removal(index, parsed.removal)
        elif kind == "ledger_key":
            self.authority.ledger_key(index, parsed.ledger_key)
        else:
            self.authority.producer_entry(index, parsed)

    def _block(self, index: int, block: entry_pb2.Block, leaf_hash: bytes) -> None:
        self.counts.blocks += 1
        if not self.damage.explains(block.previous_block_hash, self._block_index):
            if block.number != self._block_number + 1:
                self._add(Finding.at_entry(index, "block_number", str(block.number), str(self._block_number + 1)))
            if block.previous_block_hash != self._block_hash:
                self._add(
                    Finding.at_entry(index, "block_link", block.previous_block_hash.hex(), self._block_hash.hex())
                )
        if block.time_unix_ns < self._block_time_unix_ns:
            expected = f"at least {self._block_time_unix_ns}, the time before"
            self._add(Finding.at_entry(index, "block_time", str(block.time_unix_ns), expected))
        self._block_number = block.number
        self._block_hash = leaf_hash
        self._block_index = index
        self._block_time_unix_ns = max(self._block_time_unix_ns, block.time_unix_ns)
        if index + 1 in self._block_ends:
            self.ended_by_block.add(index + 1)
        if self._observer is not None:
            self._observer.on_block(block.number, index)
