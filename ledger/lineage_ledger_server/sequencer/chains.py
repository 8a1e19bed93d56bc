"""A batch in its chain: what a chain is to the sequencer, and which batch may come next."""

from __future__ import annotations

from typing import NamedTuple

from lineage_ledger.errors import SealError
from lineage_ledger.formats import seal
from lineage_ledger_server.errors import SequenceError
from lineage_ledger_server.store.rows import ChainRow


class Chain(NamedTuple):
    """Where a chain stands. All but the indexes is read from the chain's last seal."""

    chain_id: bytes
    row: ChainRow
    public_key: bytes
    next_sequence: int
    next_number: int
    last_seal_hash: bytes
    closed: bool

    @property
    def conflicted(self) -> bool:
        return self.row.conflict_index != 0


def opened_by(parsed: seal.ParsedSeal, ordinal: int, seal_index: int) -> Chain:
    """The chain after its first seal, at `seal_index`."""
    return _after(parsed, ChainRow(ordinal, seal_index, seal_index, 0))


def advanced(chain: Chain, parsed: seal.ParsedSeal, seal_index: int) -> Chain:
    """The chain after one more seal, at `seal_index`."""
    ordinal, first_seal_index, _, conflict_index = chain.row
    return _after(parsed, ChainRow(ordinal, first_seal_index, seal_index, conflict_index))


def conflicted(chain: Chain, conflict_index: int) -> Chain:
    """The chain after the conflict entry at `conflict_index` ended it."""
    return chain._replace(row=chain.row._replace(conflict_index=conflict_index))


def restored(parsed: seal.ParsedSeal, row: ChainRow) -> Chain:
    """The chain as its stored row and its last seal give it."""
    return _after(parsed, row)


def _after(parsed: seal.ParsedSeal, row: ChainRow) -> Chain:
    body = parsed.body
    return Chain(
        chain_id=body.chain_id,
        row=row,
        public_key=body.public_key,
        next_sequence=body.batch_sequence + 1,
        next_number=seal.next_number(body),
        last_seal_hash=parsed.entry_hash,
        closed=body.closing,
    )


def check_opening(parsed: seal.ParsedSeal) -> None:
    """A chain that the ledger does not know starts at its beginning. Raises `SequenceError`."""
    if parsed.body.batch_sequence != 0:
        raise SequenceError(
            f"chain {parsed.body.chain_id.hex()} is not known here; its first batch has sequence 0, "
            f"this one has {parsed.body.batch_sequence}",
            expected_sequence=0,
        )


def check_key(parsed: seal.ParsedSeal, chain: Chain) -> None:
    """A chain belongs to one key. Raises `SealError`."""
    if parsed.body.public_key != chain.public_key:
        raise SealError(
            f"chain {chain.chain_id.hex()} belongs to the key {chain.public_key.hex()}, "
            f"this batch is signed by {parsed.body.public_key.hex()}",
            reason="CHAIN_ID_MISMATCH",
        )


def check_next(parsed: seal.ParsedSeal, chain: Chain) -> None:
    """The batch is the next one of an open chain. Raises `SealError`, or `SequenceError` for a gap."""
    body = parsed.body
    name = chain.chain_id.hex()
    if chain.conflicted or chain.closed:
        how = f"by the conflict at index {chain.row.conflict_index}" if chain.conflicted else "by its closing seal"
        raise SealError(f"chain {name} was ended {how}; open a new chain", reason="CHAIN_ENDED")
    if body.batch_sequence > chain.next_sequence:
        raise SequenceError(
            f"chain {name} has batches up to sequence {chain.next_sequence - 1}, this one has {body.batch_sequence}; "
            f"send {chain.next_sequence} first",
            expected_sequence=chain.next_sequence,
        )
    if body.previous_seal_hash != chain.last_seal_hash:
        raise SealError(
            f"batch {body.batch_sequence} of chain {name} names {body.previous_seal_hash.hex()} as the seal before it, "
            f"which is {chain.last_seal_hash.hex()}",
            reason="LINK_MISMATCH",
        )
    if body.first_number != chain.next_number:
        raise SequenceError(
            f"batch {body.batch_sequence} of chain {name} begins with number {body.first_number}, "
            f"the one before ended so that {chain.next_number} comes next",
            reason="NUMBER_MISMATCH",
            expected_number=chain.next_number,
        )
