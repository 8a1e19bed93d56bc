"""What the sequencer knows of chains and producers: a cache over the store, and on it what the group in the making
changes.

Stored rows only point at entries. What they say is read from the entries, which are hashed and proven again, so that a
damaged row cannot lead the sequencer astray.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

from lineage_ledger.errors import CorruptError
from lineage_ledger.formats import seal
from lineage_ledger_server.reading.log_reader import LogReader
from lineage_ledger_server.sequencer import chains, producers
from lineage_ledger_server.sequencer.chains import Chain
from lineage_ledger_server.sequencer.producers import Producer
from lineage_ledger_server.store.log_store import LogStore
from lineage_ledger_server.store.rows import BatchRow

_MAX_CACHED = 65_536
_T = TypeVar("_T")


class State:
    """Owned by the sequencer's thread; nothing else touches it."""

    def __init__(self, store: LogStore, reader: LogReader) -> None:
        self._store = store
        self._reader = reader
        self._chains: OrderedDict[bytes, Chain] = OrderedDict()
        self._producers: OrderedDict[bytes, Producer] = OrderedDict()
        self.changed_chains: dict[bytes, Chain] = {}
        self.changed_producers: dict[bytes, Producer] = {}
        self.new_batches: dict[tuple[bytes, int], tuple[seal.ParsedSeal, bytes, BatchRow]] = {}
        with store.snapshot() as snapshot:
            self._next_ordinal = snapshot.counts().chains
        self._kept_ordinal = self._next_ordinal

    def take_ordinal(self) -> int:
        """The ordinal of a new chain."""
        ordinal = self._next_ordinal
        self._next_ordinal += 1
        return ordinal

    def chain(self, chain_id: bytes) -> Chain | None:
        """Where the chain stands, this group's batches included."""
        found = self.changed_chains.get(chain_id) or self._chains.get(chain_id)
        if found is not None:
            return found
        row = self._reader.chain(chain_id)
        if row is None:
            return None
        last = seal.parse_seal(self._reader.entry(row.last_seal_index))
        if last.body.chain_id != chain_id:
            raise CorruptError(
                f"the stored row of chain {chain_id.hex()} points at a seal of another chain; run the audit"
            )
        chain = chains.restored(last, row)
        _remember(self._chains, chain_id, chain)
        return chain

    def producer(self, public_key: bytes) -> Producer | None:
        """The key's registration and end, this group's changes included."""
        found = self.changed_producers.get(public_key) or self._producers.get(public_key)
        if found is not None:
            return found
        row = self._reader.producer(public_key)
        if row is None:
            return None
        producer = producers.restored(row, self._reader.entry)
        if producer.public_key != public_key:
            raise CorruptError(
                f"the stored row of producer {public_key.hex()} points at another key's entry; run the audit"
            )
        _remember(self._producers, public_key, producer)
        return producer

    def logged_batch(self, chain: Chain, batch_sequence: int) -> tuple[seal.ParsedSeal, bytes, BatchRow]:
        """The seal (taken apart, and its entry) and the row of a batch that the chain already has."""
        pending = self.new_batches.get((chain.chain_id, batch_sequence))
        if pending is not None:
            return pending
        with self._store.snapshot() as snapshot:
            seal_index = snapshot.seal_index_of(chain.row.ordinal, batch_sequence)
            row = snapshot.batch_at(seal_index) if seal_index is not None else None
        if row is None:
            raise CorruptError(
                f"batch {batch_sequence} of chain {chain.chain_id.hex()} has no row in the directory; run the audit"
            )
        entry = self._reader.entry(row.seal_index)
        parsed = seal.parse_seal(entry)
        if (parsed.body.chain_id, parsed.body.batch_sequence) != (chain.chain_id, batch_sequence):
            raise CorruptError(
                f"the batch directory's row for index {row.seal_index} names another batch; run the audit"
            )
        return parsed, entry, row

    def keep(self) -> None:
        """The group was committed."""
        for chain_id, chain in self.changed_chains.items():
            _remember(self._chains, chain_id, chain)
        for public_key, producer in self.changed_producers.items():
            _remember(self._producers, public_key, producer)
        self._kept_ordinal = self._next_ordinal
        self._clear()

    def discard(self) -> None:
        """The group was not committed."""
        self._next_ordinal = self._kept_ordinal
        self._clear()

    def _clear(self) -> None:
        self.changed_chains.clear()
        self.changed_producers.clear()
        self.new_batches.clear()


def _remember(cache: OrderedDict[bytes, _T], key: bytes, value: _T) -> None:
    cache[key] = value
    cache.move_to_end(key)
    if len(cache) > _MAX_CACHED:
        cache.popitem(last=False)
