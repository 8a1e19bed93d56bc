"""What each entry must be, given all entries before it (proto/README.md, "What an audit checks", 2 to 9)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from lineage_ledger.audit.authority import Authority
from lineage_ledger.audit.batch import OpenBatch
from lineage_ledger.audit.chains import Chains
from lineage_ledger.audit.damage import Damage
from lineage_ledger.audit.facts import BatchFacts, Counts, LedgerFacts
from lineage_ledger.audit.observer import Observer
from lineage_ledger.audit.report import Finding
from lineage_ledger.audit.state import BlockFacts, RulesState
from lineage_ledger.audit.suspects import BlockMarks
from lineage_ledger.errors import LineageError, SealError
from lineage_ledger.formats import seal
from lineage_ledger.formats.statement import check_attestation_signature
from lineage_ledger.kernel import ScannedBatch
from lineage_ledger.v1 import entry_pb2

_STATEMENTS = frozenset({"artifact", "run", "deployment", "attestation"})


class Rules:
    """Takes every entry once, in order of index; predictions many at a time.

    `block_ends` are the sizes at which a tree must end with a block; those that do are in `ended_by_block`. The
    signatures of seals and attestations below the index `signatures_from` are not verified.
    """

    def __init__(
        self,
        origin: str,
        block_ends: Collection[int],
        observer: Observer | None,
        add: Callable[[Finding], None],
        signatures_from: int = 0,
    ) -> None:
        self._origin = origin
        self._add = add
        self._observer = observer
        self._block_ends = frozenset(block_ends)
        self.ended_by_block: set[int] = set()
        self.counts = Counts()
        self.damage = Damage()
        self.block_marks = BlockMarks()
        self.authority = Authority(origin, self.damage, add)
        self.chains = Chains(origin, self.damage, add)
        self._batch = OpenBatch(self.damage, add)
        self._block = BlockFacts()
        self._signatures_from = signatures_from

    def resume(self, state: RulesState, size: int) -> None:
        """Go on behind the first `size` entries, which said what `state` says."""
        self.counts = replace(state.counts)
        self._block = replace(state.block)
        self.authority.resume(state)
        self.chains.resume(state.chains)
        self._batch.begin(size)
        self.ended_by_block.add(size)

    def state(self) -> RulesState:
        """What `resume` goes on from; only right where a block ended the entries, and nothing was found."""
        self._count_parties()
        return RulesState(
            replace(self.counts),
            replace(self._block),
            self.authority.admin_keys(),
            self.authority.ledger_key_facts(),
            tuple(map(replace, self.authority.producers.values())),
            tuple(map(replace, self.chains.chains.values())),
        )

    @property
    def newest_block_end(self) -> int:
        """The size that the tree had with the newest block; 0 before the first one."""
        return self._block.index + 1 if self._block.number else 0

    def predictions(self, index: int, scanned: ScannedBatch) -> None:
        """Entries from `index` on that are predictions, strictly encoded."""
        self._check_first(index, "prediction")
        self.counts.entries += scanned.count
        self.counts.predictions += scanned.count
        self._batch.add(index, scanned.leaf_hashes, scanned)

    def entry(self, index: int, entry: bytes, leaf_hash: bytes) -> None:
        """One entry of any other kind, strictly encoded."""
        parsed = entry_pb2.Entry.FromString(entry)
        self.counts.entries += 1
        kind = parsed.WhichOneof("kind") or ""
        self._check_first(index, kind)
        if kind in _STATEMENTS:
            self._statement(index, parsed, leaf_hash)
        elif kind == "seal":
            self._seal(index, parsed.seal, leaf_hash)
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
        self._count_parties()
        return LedgerFacts(
            self.chains.chains,
            self.authority.producers,
            self.authority.key_changes,
            tuple(self.damage.structural),
        )

    def _count_parties(self) -> None:
        self.counts.chains = len(self.chains.chains)
        self.counts.producers = len(self.authority.producers)

    def _check_first(self, index: int, kind: str) -> None:
        if index == 0 and kind != "genesis":
            self._add(Finding.at_entry(0, "genesis", f"a {kind}", "the entry at index 0 is the genesis"))

    def _statement(self, index: int, parsed: entry_pb2.Entry, leaf_hash: bytes) -> None:
        self.counts.statements += 1
        self._batch.add(index, leaf_hash)
        if self._observer is not None and parsed.HasField("deployment"):
            self._observer.on_deployment(leaf_hash, parsed.deployment)
        if parsed.WhichOneof("kind") == "attestation" and index >= self._signatures_from:
            try:
                check_attestation_signature(parsed.attestation, self._origin)
            except LineageError as error:
                self._add(Finding.at_entry(index, "attestation_signature", str(error)))

    def _count_seal(self, body: entry_pb2.SealBody) -> None:
        self.counts.seals += 1
        self.counts.lost += sum(lost.count for lost in body.lost)

    def _seal(self, index: int, message: entry_pb2.Seal, leaf_hash: bytes) -> None:
        body = entry_pb2.SealBody.FromString(message.body)
        parsed = seal.ParsedSeal(body, message.body, message.signature, leaf_hash)
        self._count_seal(body)
        self._batch.close(index, parsed)
        try:
            seal.check_body(body, self._origin)
            if index >= self._signatures_from:
                seal.check_signature(parsed, self._origin)
        except SealError as error:
            self._add(Finding.at_entry(index, error.reason.lower(), str(error), chain=body.chain_id))
            if error.reason == "BAD_SIGNATURE":
                # It may be anybody's. A seal that links to it is checked from there on.
                self.damage.note(index, parsed.entry_hash)
                return
        self._in_chain(index, parsed)

    def checked_seal(self, index: int, parsed: seal.ParsedSeal) -> None:
        """A seal that was checked by itself and against its batch, whose entries went by elsewhere."""
        self.counts.entries += 1
        self._count_seal(parsed.body)
        self._batch.begin(index + 1)
        self._in_chain(index, parsed)

    def checked_deployment(self, leaf_hash: bytes, deployment: entry_pb2.Deployment) -> None:
        """A deployment in a batch that went by elsewhere."""
        if self._observer is not None:
            self._observer.on_deployment(leaf_hash, deployment)

    def _in_chain(self, index: int, parsed: seal.ParsedSeal) -> None:
        """What its key may, and its place in its chain."""
        body = parsed.body
        self._check_key(index, parsed)
        chain = self.chains.advance(index, parsed)
        if self._observer is not None:
            facts = BatchFacts(chain, body.batch_sequence, body.first_number, body.count, index, body)
            self._observer.on_batch(facts)

    def _check_key(self, index: int, parsed: seal.ParsedSeal) -> None:
        """The key's validity at the batch's first index, which is that of now: no admin's entry lies in a batch."""
        body = parsed.body
        refusal = self.authority.refusal(
            body.public_key,
            opens_chain=not self.chains.knows(body.chain_id),
            block_number=self._block.number + 1,
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
            self._check_block(index, parsed.block, leaf_hash)
        elif kind == "genesis":
            self.authority.genesis(index, parsed.genesis)
            if index == 0:
                self._block = BlockFacts(0, 0, parsed.genesis.time_unix_ns, leaf_hash)
        elif kind == "conflict":
            self.counts.conflicts += 1
            self.chains.conflict(index, parsed.conflict)
        elif kind == "removal":
            self.authority.removal(index, parsed.removal)
        elif kind == "ledger_key":
            self.authority.ledger_key(index, parsed.ledger_key)
        else:
            self.authority.producer_entry(index, parsed)

    def _check_block(self, index: int, block: entry_pb2.Block, leaf_hash: bytes) -> None:
        self.counts.blocks += 1
        before = self._block
        if not self.damage.explains(block.previous_block_hash, before.index):
            if block.number != before.number + 1:
                self._add(Finding.at_entry(index, "block_number", str(block.number), str(before.number + 1)))
            if block.previous_block_hash != before.entry_hash:
                found, expected = block.previous_block_hash.hex(), before.entry_hash.hex()
                self._add(Finding.at_entry(index, "block_link", found, expected))
        if block.time_unix_ns < before.time_unix_ns:
            expected = f"at least {before.time_unix_ns}, the time before"
            self._add(Finding.at_entry(index, "block_time", str(block.time_unix_ns), expected))
        time_unix_ns = max(before.time_unix_ns, block.time_unix_ns)
        self._block = BlockFacts(block.number, index, time_unix_ns, leaf_hash)
        self.block_marks.note(block.time_unix_ns, index)
        if index + 1 in self._block_ends:
            self.ended_by_block.add(index + 1)
        if self._observer is not None:
            self._observer.on_block(block.number, index, block.time_unix_ns)
