"""Verifies a chain receipt: that a run of a chain's seals has no gap, from its bytes and the ledger's key alone.

What is shown then: the producer signed these seals, one after the other, each linked to the one before; all of them are
in the one tree that the ledger signed; so from the first number to the last each one is either that of an entry that
the producer sealed, or declared lost. That the entries before each seal are the ones that it closes is for an audit to
show, and that there is no later seal nobody can.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from lineage_ledger.completeness import ChainTotals, Window
from lineage_ledger.errors import VerificationError
from lineage_ledger.formats import keys, seal
from lineage_ledger.formats.chain_receipt import MAX_SEALS, ChainReceipt
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.note import Verifier
from lineage_ledger.formats.seal import ParsedSeal
from lineage_ledger.formats.witness_policy import Cosignature, WitnessPolicy
from lineage_ledger.proven_entries import ProvenEntries, ReceiptError, Signer
from lineage_ledger.v1 import entry_pb2

LIMITS: Final = (
    "Later seals: the chain may go on behind the last seal here; only a closing seal says that it does not.",
    "Entries: that the entries before each seal are those that it closes is shown by an audit.",
    "Other chains: what the producer did not seal in this chain, or not at all, cannot be seen here.",
)


@dataclass(frozen=True, slots=True)
class SealedRun:
    """A seal of the chain, at its place."""

    index: int
    seal: ParsedSeal


@dataclass(frozen=True, slots=True)
class VerifiedChain:
    """What a chain receipt shows."""

    chain_id: bytes
    """16 bytes."""
    origin: str
    checkpoint: Checkpoint
    signer: Signer
    opened_index: int
    """Index of the seal that opened the chain."""
    predecessor: entry_pb2.Predecessor | None
    """The chain that this one says it goes on from, and that one's last number, plus one."""
    seals: Sequence[SealedRun]
    """The run, by sequence; each next one follows."""
    block_number: int
    """The first block after the run."""
    block_time_unix_ns: int
    """The ledger's clock: all of the run was on record by then."""
    conflict_index: int = 0
    """Index of the entry that ended the chain as a conflict; 0: none here."""
    conflict_sequence: int = 0
    """The sequence for which two contents were signed: up to there the chain has seals."""
    successor: entry_pb2.SealBody | None = None
    """The seal that opened the first chain of the same key that names this one as its predecessor; None: none here."""
    cosignatures: tuple[Cosignature, ...] = ()
    """Of witnesses, where a policy was given."""
    limits: tuple[str, ...] = LIMITS

    @property
    def closed(self) -> bool:
        """Whether the run ends with the chain's closing seal."""
        return self.seals[-1].seal.body.closing


def verify_chain_receipt(data: bytes, verifier: Verifier, policy: WitnessPolicy | None = None) -> VerifiedChain:
    """Check a chain receipt with the ledger's verifier key, which must come from elsewhere than the receipt.

    With a `policy` the receipt's checkpoint must have the cosignatures that it asks for.

    Raises a `LineageError` (`MalformedError` for the form, `VerificationError` for what does not prove) if anything in
    it does not check, is missing, or does not belong there.
    """
    receipt = ChainReceipt.parse(data)
    proven = ProvenEntries(receipt.entries, receipt.tree, receipt.checkpoint, verifier)
    verified = _Contents(receipt, proven).verified()
    if policy is None:
        return verified
    return replace(verified, cosignatures=policy.check(receipt.checkpoint, verifier))


class _Contents:
    """Entries that are proven to be in the tree; what they say is checked here."""

    def __init__(self, receipt: ChainReceipt, proven: ProvenEntries) -> None:
        self._chain_id = receipt.chain_id
        self._first_sequence = receipt.first_sequence
        self._proven = proven

    def verified(self) -> VerifiedChain:
        seals = self._seals()
        own = [each for each in seals if each.seal.body.chain_id == self._chain_id]
        opening, run = self._run(own)
        signer = self._signer(opening, run)
        block = self._block(run[-1].index, signer)
        conflict_index, conflict_sequence = self._conflict(run)
        successor = self._successor(signer, [each for each in seals if each.seal.body.chain_id != self._chain_id])
        self._proven.check_kinds("seal", "block", "conflict")
        body = opening.seal.body
        return VerifiedChain(
            chain_id=self._chain_id,
            origin=self._proven.origin,
            checkpoint=self._proven.checkpoint,
            signer=signer,
            opened_index=opening.index,
            predecessor=body.predecessor if body.HasField("predecessor") else None,
            seals=tuple(run),
            block_number=block.number,
            block_time_unix_ns=block.time_unix_ns,
            conflict_index=conflict_index,
            conflict_sequence=conflict_sequence,
            successor=successor,
        )

    def _seals(self) -> list[SealedRun]:
        found = []
        for index in self._proven.of_kind("seal"):
            parsed = seal.parse_seal(self._proven.raw[index])
            seal.check_seal(parsed, self._proven.origin)
            found.append(SealedRun(index, parsed))
        self._check_batches_hold_nothing_here(found)
        return found

    def _check_batches_hold_nothing_here(self, seals: Sequence[SealedRun]) -> None:
        """A batch holds predictions and statements, and there are none in the receipt."""
        indexes = sorted(self._proven.raw)
        for each in seals:
            before = indexes[bisect_left(indexes, each.index) - 1]
            if each.index - each.seal.body.count <= before:
                raise ReceiptError(
                    f"the seal at index {each.index} closes the entry at index {before}, which it cannot"
                )

    def _run(self, own: Sequence[SealedRun]) -> tuple[SealedRun, list[SealedRun]]:
        """The seal that opened the chain, and the run, of which it may be the first."""
        if not own or own[0].seal.body.batch_sequence != 0:
            raise ReceiptError("the receipt does not hold the seal that opened its chain")
        opening = own[0]
        run = list(own[1:] if self._first_sequence else own)
        if not run or run[0].seal.body.batch_sequence != self._first_sequence:
            raise ReceiptError(f"the receipt does not hold the seal of sequence {self._first_sequence} as the next one")
        if len(run) > MAX_SEALS:
            raise ReceiptError(f"the receipt holds a run of {len(run)} seals, more than {MAX_SEALS}")
        for each in own:
            if each.seal.body.public_key != opening.seal.body.public_key:
                raise ReceiptError(f"the seal at index {each.index} is of another key than the one of its chain")
        for before, after in pairwise(run):
            _check_follows(before, after)
        return opening, run

    def _signer(self, opening: SealedRun, run: Sequence[SealedRun]) -> Signer:
        """The chain's key: registered before the chain was opened, and fit to sign each seal."""
        signer = self._proven.signers.get(opening.seal.body.public_key)
        if signer is None or len(self._proven.signers) != 1:
            raise ReceiptError("the receipt must hold the registration of the chain's key, and of no other")
        _check_may_open(signer, opening.index)
        last = run[-1]
        if 0 < signer.compromised_index < last.index - last.seal.body.count:
            raise ReceiptError(f"the chain's key was declared compromised before the seal at index {last.index}")
        return signer

    def _block(self, last_index: int, signer: Signer) -> entry_pb2.Block:
        blocks = self._proven.of_kind("block")
        if len(blocks) != 1 or blocks[0] <= last_index:
            raise ReceiptError("the receipt must hold one block, which comes after the last seal of the run")
        block = self._proven.parsed[blocks[0]].block
        if 0 < signer.retired_index < last_index and block.number > signer.last_block:
            raise ReceiptError(f"the chain's key was retired as of block {signer.last_block}, and the run ends later")
        return block

    def _conflict(self, run: Sequence[SealedRun]) -> tuple[int, int]:
        """Index of the conflict that ended the chain, and the sequence that it is for; zeros if there is none here."""
        conflicts = self._proven.of_kind("conflict")
        if not conflicts:
            return 0, 0
        conflict = self._proven.parsed[conflicts[0]].conflict
        public_key = run[0].seal.body.public_key
        sequences = set()
        first, second = seal.parse_seal(conflict.first_seal), seal.parse_seal(conflict.second_seal)
        for parsed in (first, second):
            if (parsed.body.chain_id, parsed.body.public_key) != (self._chain_id, public_key):
                raise ReceiptError(f"the conflict at index {conflicts[0]} is of another chain")
            message = seal.signed_bytes(self._proven.origin, parsed.body_bytes)
            if not keys.verify(public_key, message, parsed.signature):
                raise ReceiptError(f"a signature of the conflict at index {conflicts[0]} does not check")
            sequences.add(parsed.body.batch_sequence)
        if len(conflicts) > 1 or len(sequences) > 1:
            raise ReceiptError(f"the conflict at index {conflicts[0]} is none, or one of several")
        if conflicts[0] < run[-1].index:
            raise ReceiptError(f"the run goes on behind the conflict at index {conflicts[0]}, which ended the chain")
        logged = {each.seal.body.batch_sequence: each.seal.entry_hash for each in run}
        if logged.get(first.body.batch_sequence, first.entry_hash) != first.entry_hash:
            raise ReceiptError(f"the first seal of the conflict at index {conflicts[0]} is not the one of the run")
        return conflicts[0], first.body.batch_sequence

    def _successor(self, signer: Signer, others: Sequence[SealedRun]) -> entry_pb2.SealBody | None:
        """The seal that opened the chain that recovered this one; None if there is none here."""
        if not others:
            return None
        body = others[0].seal.body
        names = (body.predecessor.chain_id, body.public_key, body.batch_sequence)
        if len(others) > 1 or names != (self._chain_id, signer.public_key, 0):
            raise ReceiptError(f"the seal at index {others[0].index} does not open a chain that goes on from this one")
        _check_may_open(signer, others[0].index)
        return body


def _check_may_open(signer: Signer, index: int) -> None:
    """That the key may open a chain at the index. Raises `ReceiptError`."""
    ended = any(0 < end < index for end in (signer.retired_index, signer.compromised_index))
    if ended or signer.registered_index >= index:
        raise ReceiptError(f"a chain was opened at index {index} by a key that might not")


def _check_follows(before: SealedRun, after: SealedRun) -> None:
    """That a seal is the next one of its chain (proto/README.md, "Seals and chains"). Raises `ReceiptError`."""
    old, new = before.seal.body, after.seal.body
    said: Mapping[str, tuple[object, object]] = {
        "sequence": (new.batch_sequence, old.batch_sequence + 1),
        "link to the seal before": (new.previous_seal_hash, before.seal.entry_hash),
        "first number": (new.first_number, seal.next_number(old)),
    }
    for what, (found, expected) in said.items():
        if found != expected:
            raise ReceiptError(f"the seal at index {after.index} does not follow the one at {before.index}: its {what}")
    if old.closing:
        raise ReceiptError(f"the seal at index {after.index} follows the closing seal of its chain")
    if after.index - new.count <= before.index:
        raise ReceiptError(f"the seals at indexes {before.index} and {after.index} close the same entries")


class ChainTally:
    """Adds up the receipts of one chain, run after run, which must follow each other."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._last: VerifiedChain | None = None
        self._conflict_sequence = 0
        self.totals: ChainTotals | None = None
        """None before the first receipt."""

    def add(self, run: VerifiedChain) -> ChainTotals:
        """Take in the next run. Raises `VerificationError` if it does not go on where the one before ended."""
        if self._last is not None and self.totals is not None:
            _check_goes_on(self._last, self.totals, run)
        totals = self.totals or ChainTotals(run.chain_id, run.signer.public_key)
        for each in run.seals:
            totals.add(each.index, each.seal.body, self._window)
        totals.predecessor = run.predecessor
        totals.last_on_record_unix_ns = run.block_time_unix_ns
        # A receipt under an older checkpoint says less, which takes nothing back.
        totals.conflict_index = run.conflict_index or totals.conflict_index
        self._conflict_sequence = run.conflict_sequence or self._conflict_sequence
        totals.suspect_since_unix_ns = run.signer.suspect_since_unix_ns or totals.suspect_since_unix_ns
        if run.successor is not None:
            totals.recovered_by(run.successor.chain_id, run.successor.predecessor.next_number)
        self._last = run
        self.totals = totals
        return totals

    @property
    def goes_on(self) -> bool:
        """Whether the receipts themselves show that the chain has seals behind the last one here."""
        return self.totals is not None and self._conflict_sequence > self.totals.last_sequence


def _check_goes_on(before: VerifiedChain, totals: ChainTotals, run: VerifiedChain) -> None:
    """That a receipt goes on where the one before ended, and contradicts none of those added up. Raises."""
    if run.chain_id != totals.chain_id:
        raise VerificationError(f"a receipt of chain {run.chain_id.hex()} among those of another")
    _check_follows(before.seals[-1], run.seals[0])
    if 0 < totals.conflict_index < run.seals[-1].index:
        raise ReceiptError(
            f"the run goes on behind the conflict at index {totals.conflict_index}, which ended the chain"
        )
    successor = run.successor.chain_id if run.successor is not None else b""
    said = {
        "opening seals": (before.opened_index != run.opened_index) or before.predecessor != run.predecessor,
        "conflicts": bool(totals.conflict_index and run.conflict_index) and totals.conflict_index != run.conflict_index,
        "successors": bool(totals.successor_chain_id and successor) and totals.successor_chain_id != successor,
    }
    for what, differ in said.items():
        if differ:
            raise ReceiptError(f"two receipts of chain {run.chain_id.hex()} name different {what}")
