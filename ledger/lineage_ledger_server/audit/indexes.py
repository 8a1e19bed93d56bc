"""The derived indexes held against ones that are made anew, from the log, in a folder that is thrown away."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from lineage_ledger.audit import Finding, Report
from lineage_ledger.errors import LineageError
from lineage_ledger_server.audit.rows import foreign_tables
from lineage_ledger_server.head import Head, HeadRecord
from lineage_ledger_server.index.indexer import Indexer
from lineage_ledger_server.reading.log_reader import LogReader
from lineage_ledger_server.store.index_store import POSITION_KEY, TABLES
from lineage_ledger_server.store.log_store import LogStore
from lineage_ledger_server.store.raw_tables import RawEnvironment, RawTables
from lineage_ledger_server.store.rows import HASH_SIZE

_SIZE_BYTES = 8


def check_index(
    path: Path,
    log: LogStore,
    head_path: Path,
    report: Report,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Compare every row of the indexes in `path` with those that the log up to their position gives.

    Needs room for a second copy of the indexes in the folder for temporary files. A log that does not check is no
    measure for its indexes; then it is said that they were not checked.
    """
    if not path.exists():
        report.not_checked.append("derived indexes: there are none")
        return
    if report.finding_count or report.failures:
        report.not_checked.append("derived indexes: they are made from the log, which must be right first")
        return
    report.covered.indexes = True
    try:
        stored = RawEnvironment(path, TABLES)
        try:
            with stored.tables() as tables:
                _check(tables, log, head_path, report, progress)
        finally:
            stored.close()
    except LineageError as error:
        report.failures.append(f"the derived indexes could not be checked: {error}")


def _check(
    stored: RawTables,
    log: LogStore,
    head_path: Path,
    report: Report,
    progress: Callable[[int, int], None] | None,
) -> None:
    # A position begins with the size and the root of the tree that is indexed.
    position = stored.get("meta", POSITION_KEY) or bytes(_SIZE_BYTES + HASH_SIZE)
    size, root = int.from_bytes(position[:_SIZE_BYTES], "big"), position[_SIZE_BYTES : _SIZE_BYTES + HASH_SIZE]
    # The indexes follow the published head, so that the head read now is not behind them.
    record = HeadRecord(head_path, read_only=True)
    try:
        head = record.read_published()
    finally:
        record.close()
    reader = LogReader(log, lambda: head)
    if size > head.size or (size and reader.root(size) != root):
        found = f"{size} entries with the root {root.hex()}"
        report.add(
            Finding("index_row", "row index meta position", found, f"a tree of the {head.size} entries published")
        )
        return
    indexed = Head(size, root, head.note) if size else head
    with tempfile.TemporaryDirectory(prefix="lineage-audit-") as folder:
        indexer = Indexer(Path(folder) / "index", LogReader(log, lambda: indexed))
        try:
            while size and indexer.step():
                if progress is not None:
                    progress(indexer.indexed_size, size)
        finally:
            indexer.stop()
        derived = RawEnvironment(Path(folder) / "index", TABLES)
        try:
            with derived.tables() as tables:
                for table in TABLES:
                    _compare(table, stored, tables, report)
            for finding in foreign_tables(stored, TABLES, "index "):
                report.add(finding)
        finally:
            derived.close()


def _compare(table: str, stored: RawTables, derived: RawTables, report: Report) -> None:
    """Both walked in order of keys, side by side."""
    have, want = stored.rows(table), derived.rows(table)
    mine, theirs = next(have, None), next(want, None)
    while mine is not None or theirs is not None:
        key = min(row[0] for row in (mine, theirs) if row is not None)
        found = mine[1] if mine is not None and mine[0] == key else None
        expected = theirs[1] if theirs is not None and theirs[0] == key else None
        if found != expected:
            shown = key.decode() if table == "meta" and key.isalpha() else key.hex()
            place = f"row index {table} {shown}"
            report.add(Finding("index_row", place, _shown(found), _shown(expected)))
        if found is not None:
            mine = next(have, None)
        if expected is not None:
            theirs = next(want, None)


def _shown(value: bytes | None) -> str:
    if value is None:
        return "no such row"
    return value.hex() if len(value) <= 64 else f"{len(value)} bytes, {value[:32].hex()}…"
