"""Rows of the log's tables, held against the entries that they point at.

Functions raise CorruptValueError where a row and its entry do not say the same.
"""

from __future__ import annotations

from typing import NoReturn

from lineage_ledger.errors import LineageError
from lineage_ledger.formats import seal as seals
from lineage_ledger.formats import strict
from lineage_ledger.formats.seal import ParsedSeal
from lineage_ledger.v1 import entry_pb2
from lineage_ledger_server.errors import CorruptValueError, IndexOutOfRangeError
from lineage_ledger_server.reading.verified_tree import VerifiedTree
from lineage_ledger_server.store.log_snapshot import LogSnapshot
from lineage_ledger_server.store.rows import BatchRow, ChainRow, ProducerRow


def last_batch(snapshot: LogSnapshot, chain: ChainRow, size: int, number: int | None = None) -> BatchRow | None:
    """The chain's last batch under a head of `size` entries; with `number`, the last that begins at or before it.

    Searched by bisection over the directory, which is in the order of sequences, indexes and numbers alike.
    """
    newest = snapshot.batch_at(chain.last_seal_index)
    if newest is None or newest.chain_ordinal != chain.ordinal:
        damaged("chains", "names a last seal that is in no batch of the chain", chain.last_seal_index)
    low, high = -1, newest.batch_sequence
    found = None
    while low < high:
        middle = (low + high + 1) // 2
        seal_index = snapshot.seal_index_of(chain.ordinal, middle)
        row = snapshot.batch_at(seal_index) if seal_index is not None else None
        if row is None or (row.chain_ordinal, row.batch_sequence) != (chain.ordinal, middle):
            damaged("directory", f"does not lead to batch {middle} of chain {chain.ordinal}", seal_index)
        if row.seal_index < size and (number is None or row.first_number <= number):
            low, found = middle, row
        else:
            high = middle - 1
    return found


def seal_of_row(tree: VerifiedTree, row: BatchRow, chain_id: bytes | None) -> ParsedSeal:
    """The seal that a row of `batches` points at, if it says the same."""
    seal = parse_seal(tree, row.seal_index)
    body = seal.body
    said = (body.chain_id, body.batch_sequence, body.first_number, body.count)
    if said != (chain_id, row.batch_sequence, row.first_number, row.count):
        damaged("batches", "does not say what its seal says", row.seal_index)
    return seal


def parse_seal(tree: VerifiedTree, index: int) -> ParsedSeal:
    """The seal that a row points at."""
    entry = pointed_entry(tree, index)
    try:
        return seals.parse_seal(entry)
    except LineageError as error:
        damaged("batches", f"takes the entry at index {index} for a seal ({error})", index)


def parse_pointed(tree: VerifiedTree, index: int) -> entry_pb2.Entry:
    """The message of the entry that a row points at."""
    return strict.parse_entry(pointed_entry(tree, index))


def pointed_entry(tree: VerifiedTree, index: int) -> bytes:
    """The entry that a row points at, which has to be there."""
    try:
        return tree.entry(index)
    except IndexOutOfRangeError:
        damaged("batches, chains, producers, blocks or meta", f"points at index {index}, which is not published", index)


def checked_producer(tree: VerifiedTree, public_key: bytes, row: ProducerRow) -> ProducerRow | None:
    """The row as far as it is under the head, held against its entries."""
    size = tree.head.size
    if row.registered_index >= size:
        return None
    body = entry_pb2.ProducerRegistration.FromString(parse_pointed(tree, row.registered_index).producer_registered.body)
    if body.public_key != public_key:
        damaged("producers", f"names another entry than the registration of {public_key.hex()}", row.registered_index)
    retired_index = row.retired_index if row.retired_index < size else 0
    if retired_index:
        retired = entry_pb2.ProducerRetirement.FromString(parse_pointed(tree, retired_index).producer_retired.body)
        if retired.public_key != public_key:
            damaged("producers", f"names another entry than the retirement of {public_key.hex()}", retired_index)
    compromised_index = row.compromised_index if row.compromised_index < size else 0
    if compromised_index:
        entry = parse_pointed(tree, compromised_index)
        compromised = entry_pb2.ProducerCompromise.FromString(entry.producer_compromised.body)
        if compromised.public_key != public_key:
            damaged("producers", f"names another entry than the compromise of {public_key.hex()}", compromised_index)
    return ProducerRow(row.registered_index, retired_index, compromised_index)


def damaged(table: str, what: str, index: int | None) -> NoReturn:
    """Raises CorruptValueError for a row that contradicts the entries; `index` is the entry it points at."""
    raise CorruptValueError(f"the table {table} {what}; run `lineage audit`, restore the log from a copy", index=index)
