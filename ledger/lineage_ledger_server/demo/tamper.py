"""What an attacker with access to the files could do: change one stored byte."""

from __future__ import annotations

import mmap
from pathlib import Path

from lineage_ledger.formats import packed
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.demo.shell import DemoError
from lineage_ledger_server.store.log_store import LogStore

BUNDLE_ENTRIES = 256


def flip_byte(data: Path, index: int) -> tuple[Path, int]:
    """Flip the lowest bit of a byte in the middle of the entry at `index`; returns the file and the byte's offset.

    The entry must be in a full bundle, and no server may have the ledger open. Raises `DemoError`.
    """
    bundle, place = divmod(index, BUNDLE_ENTRIES)
    store = LogStore.open(DataDir(data).log, read_only=True)
    try:
        with store.snapshot() as snapshot:
            hashes, entries = snapshot.bundle_bytes(bundle)
    finally:
        store.close()
    sizes = [len(entry) for entry in packed.iterate(entries)]
    if len(sizes) != BUNDLE_ENTRIES:
        raise DemoError(f"entry {index} is not in a full bundle; send more requests")
    in_bundle = sum(2 + size for size in sizes[:place]) + 2 + sizes[place] // 2
    file = DataDir(data).log / "data.mdb"
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as content:
        # The whole value is looked for: older copies of single entries lie about in pages that are free again.
        start = content.find(hashes + entries)
        if start < 0:
            raise DemoError(f"bundle {bundle} was not found in {file}")
        offset = start + len(hashes) + in_bundle
        content[offset] ^= 1
    return file, offset
