"""Rows that LMDB alone holds, derived anew from the entries and compared both ways: missing, extra, different."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from lineage_ledger.audit import AuditState, BatchFacts, Finding, LedgerFacts, Observer, Report
from lineage_ledger.formats.tiles import tile_width
from lineage_ledger_server.audit.source import DataDirSource
from lineage_ledger_server.errors import CorruptValueError
from lineage_ledger_server.store import rows
from lineage_ledger_server.store.log_store import FORMAT, FORMAT_KEY, TABLES
from lineage_ledger_server.store.raw_tables import RawTables
from lineage_ledger_server.store.rows import HASH_SIZE, BatchRow, ChainRow, ProducerRow

# What is kept until the report is made; the report keeps no more.
_MAX_KEPT = 1_000
_MAX_SHOWN = 1_000
_MAX_FOREIGN = 100
_DIRECTORY_KEY_BYTES = 12
_TILE_KEY_BYTES = 8


class _Doubt(NamedTuple):
    """A row that is not what the entries say."""

    finding: Finding
    certain: bool
    """Its own checksum is wrong, too: it was changed, whatever the entries say."""


class _Doubts:
    """Rows that do not agree; a bounded list and a count."""

    def __init__(self) -> None:
        self.kept: list[_Doubt] = []
        self.count = 0

    def note(self, table: str, key: bytes, stored: bytes | None, expected: bytes | None) -> None:
        """A row as it is stored and as it should be; None: not at all."""
        self.count += 1
        if len(self.kept) == _MAX_KEPT:
            return
        place = f"row {table} {_shown(table, key)}"
        found = "is missing" if stored is None else _hex(stored)
        wanted = "no such row" if expected is None else expected.hex()
        certain = stored is not None and not _checksum_holds(table, key, stored)
        self.kept.append(_Doubt(Finding("row", place, found, wanted), certain))


class _OrderedTable:
    """A table walked in step with the rows that should be in it, both in order of keys."""

    def __init__(self, tables: RawTables, table: str, doubts: _Doubts, first_key: bytes = b"") -> None:
        self._table = table
        self._doubts = doubts
        self._rows = tables.rows(table, first_key)
        self._next = next(self._rows, None)

    def expect(self, key: bytes, value: bytes) -> None:
        """The next row that should be there."""
        while self._next is not None and self._next[0] < key:
            self._extra()
        if self._next is not None and self._next[0] == key:
            if self._next[1] != value:
                self._doubts.note(self._table, key, self._next[1], value)
            self._next = next(self._rows, None)
        else:
            self._doubts.note(self._table, key, None, value)

    def end(self) -> None:
        """No more rows should be there."""
        while self._next is not None:
            self._extra()

    def _extra(self) -> None:
        assert self._next is not None
        self._doubts.note(self._table, self._next[0], self._next[1], None)
        self._next = next(self._rows, None)


class RowCheck(Observer):
    """The `Observer` that holds the tables of `tables` against the entries that `source` gives."""

    def __init__(self, tables: RawTables, source: DataDirSource) -> None:
        self._tables = tables
        self._source = source
        self._doubts = _Doubts()
        self._batches = _OrderedTable(tables, "batches", self._doubts)
        self._blocks = _OrderedTable(tables, "blocks", self._doubts)
        self._directory_rows = 0

    def begin(self, since: AuditState) -> None:
        """See `Observer.begin`: rows of older batches and blocks are not looked at."""
        self._batches = _OrderedTable(self._tables, "batches", self._doubts, rows.number_key(since.size))
        block_key = rows.number_key(since.rules.block.number + 1)
        self._blocks = _OrderedTable(self._tables, "blocks", self._doubts, block_key)
        self._directory_rows = since.rules.counts.seals

    def on_batch(self, batch: BatchFacts) -> None:
        """See `Observer.on_batch`."""
        ordinal, sequence = batch.chain.ordinal, batch.batch_sequence
        row = BatchRow(batch.seal_index, ordinal, sequence, batch.first_number, batch.entry_count)
        self._batches.expect(*rows.with_checksum(rows.number_key(batch.seal_index), rows.batch_value(row)))
        key, value = rows.with_checksum(rows.directory_key(ordinal, sequence), rows.number_key(batch.seal_index))
        stored = self._tables.get("directory", key)
        if stored is not None:
            self._directory_rows += 1
        if stored != value:
            self._doubts.note("directory", key, stored, value)

    def on_block(self, number: int, index: int, time_unix_ns: int) -> None:  # noqa: ARG002  (as observers are called)
        """See `Observer.on_block`."""
        self._blocks.expect(*rows.with_checksum(rows.number_key(number), rows.number_key(index)))

    def finish(self, facts: LedgerFacts, report: Report) -> None:
        """See `Observer.finish`."""
        report.covered.rows = True
        self._batches.end()
        self._blocks.end()
        self._check_directory_extras()
        for table, expected in _state_rows(facts).items():
            ordered = _OrderedTable(self._tables, table, self._doubts)
            for key, value in sorted(expected):
                ordered.expect(*rows.with_checksum(key, value))
            ordered.end()
        self._check_key_changes(facts.key_changes)
        self._report_doubts(facts, report)
        for finding in chain(self._source.findings, self._frame_findings()):
            report.add(finding)

    def _report_doubts(self, facts: LedgerFacts, report: Report) -> None:
        kept = [doubt.finding for doubt in self._doubts.kept if doubt.certain or not facts.unreadable]
        for finding in kept:
            report.add(finding)
        if facts.unreadable and len(kept) < self._doubts.count:
            report.not_checked.append(
                f"{self._doubts.count - len(kept)} rows of the log's tables: what they should be depends on entry "
                f"{facts.unreadable[0]}, which cannot be read; restore it and audit again"
            )
        elif not facts.unreadable:
            report.finding_count += self._doubts.count - len(kept)

    def _check_key_changes(self, indexes: Sequence[int]) -> None:
        """The row that points at the changes of the ledger's key."""
        key, value = rows.with_checksum(rows.LEDGER_KEYS_KEY, rows.ledger_keys_value(indexes))
        stored, expected = self._tables.get("meta", key), value if indexes else None
        if stored != expected:
            self._doubts.note("meta", key, stored, expected)

    def _check_directory_extras(self) -> None:
        if self._tables.count("directory") == self._directory_rows:
            return
        for key, value in self._tables.rows("directory"):
            batch = self._tables.get("batches", value[:8])
            # The row of a batch begins with what is the key of its row in the directory.
            if batch is None or len(key) != _DIRECTORY_KEY_BYTES or batch[: len(key)] != key:
                self._doubts.note("directory", key, value, None)

    def _frame_findings(self) -> Iterator[Finding]:
        """Rows of entries and hashes that should not be there, or are too long, and the tables' format."""
        size = self._source.size
        for key, length in self._tables.lengths("tiles"):
            if len(key) != _TILE_KEY_BYTES:
                yield Finding("row", f"row tiles {key.hex()}", "is there", "no such row")
                continue
            place = rows.number_of(key)
            level, number = place >> 56, place & ((1 << 56) - 1)
            width = tile_width(level, number, size) if level else 0
            if length > width * HASH_SIZE or not width:
                yield Finding.at_tile(level, number, "tile_length", f"{length} bytes", f"{width * HASH_SIZE}")
        meta = {key: value for key, value in self._tables.rows("meta") if key != rows.LEDGER_KEYS_KEY}
        if meta != {FORMAT_KEY: FORMAT}:
            yield Finding("row", "row meta format", repr(meta)[:_MAX_SHOWN], str({FORMAT_KEY: FORMAT}))
        yield from foreign_tables(self._tables, TABLES, "")


def foreign_tables(tables: RawTables, names: Sequence[str], where: str) -> Iterator[Finding]:
    """What else than the tables of these names is in an environment; `where` stands before their names."""
    for name in tables.names(len(names) + _MAX_FOREIGN):
        if name not in {each.encode() for each in names}:
            yield Finding("table", f"table {where}{name.hex()}", "is there", "no such table")


def _state_rows(facts: LedgerFacts) -> dict[str, list[tuple[bytes, bytes]]]:
    """The rows of chains and producers, without their checksums."""
    return {
        "chains": [
            (
                each.chain_id,
                rows.chain_value(
                    ChainRow(each.ordinal, each.first_seal_index, each.last_seal_index, each.conflict_index)
                ),
            )
            for each in facts.chains.values()
        ],
        "chain_ids": [(rows.ordinal_key(each.ordinal), each.chain_id) for each in facts.chains.values()],
        "producers": [
            (
                each.public_key,
                rows.producer_value(ProducerRow(each.registered_index, each.retired_index, each.compromised_index)),
            )
            for each in facts.producers.values()
        ],
    }


def _hex(value: bytes) -> str:
    return value.hex() if len(value) <= _MAX_SHOWN else f"{len(value)} bytes, {value[:32].hex()}…"


def _shown(table: str, key: bytes) -> str:
    """A key as people read it."""
    if table in ("batches", "blocks"):
        return str(int.from_bytes(key, "big"))
    if table == "chain_ids":
        return str(int.from_bytes(key, "big"))
    if table == "meta":
        return key.decode("ascii")
    if table == "directory":
        return f"{int.from_bytes(key[:4], 'big')}/{int.from_bytes(key[4:], 'big')}"
    return key.hex()


def _checksum_holds(table: str, key: bytes, stored: bytes) -> bool:
    try:
        rows.without_checksum(table, key, stored)
    except CorruptValueError:
        return False
    return True
