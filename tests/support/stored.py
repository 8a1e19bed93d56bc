"""What a ledger's files hold, read entry by entry and without the indexes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lineage_ledger.formats import packed, seal
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.head import HeadRecord
from lineage_ledger_server.reading.log_reader import LogReader
from lineage_ledger_server.store.log_store import LogStore


@contextmanager
def opened(data: Path) -> Iterator[LogReader]:
    """A reader over the ledger in `data`, whose server may be running or not."""
    store = LogStore.open(DataDir(data).log, read_only=True)
    try:
        yield LogReader(store, HeadRecord(DataDir(data).head, read_only=True))
    finally:
        store.close()


def entries(reader: LogReader) -> Iterator[bytes]:
    """Every entry up to the published head, verified, in order."""
    for _, _, piece in reader.packed_range(0, reader.head().size):
        yield from packed.iterate(piece)


def numbered(reader: LogReader) -> Iterator[tuple[bytes, int, bytes]]:
    """Chain id, number and entry of everything that a producer sealed, as the seals number it."""
    pending: list[bytes] = []
    for entry in entries(reader):
        if entry[0] == 0x12:
            body = seal.parse_seal(entry).body
            lost = {lost.first: lost.count for lost in body.lost}
            number = body.first_number
            for sealed in pending[len(pending) - body.count :]:
                while number in lost:
                    number += lost[number]
                yield body.chain_id, number, sealed
                number += 1
            pending = []
        else:
            pending.append(entry)
