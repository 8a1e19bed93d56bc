"""The first group of a ledger: its genesis, and the block that closes it."""

from __future__ import annotations

from lineage_ledger.formats import merkle, packed, strict
from lineage_ledger.v1 import entry_pb2
from lineage_ledger_server.store.rows import GroupWrite

FORMAT_VERSION = 1


def genesis_group(
    origin: str, ledger_public_key: bytes, admin_public_keys: list[bytes], time_unix_ns: int
) -> GroupWrite:
    """Entries 0 and 1. Raises `MalformedEntryError` if `origin` or a key cannot be one."""
    genesis = entry_pb2.Entry(
        genesis=entry_pb2.Genesis(
            format_version=FORMAT_VERSION,
            origin=origin,
            ledger_public_key=ledger_public_key,
            admin_public_keys=sorted(admin_public_keys),
            time_unix_ns=time_unix_ns,
        )
    ).SerializeToString()
    block = entry_pb2.Entry(
        block=entry_pb2.Block(number=1, time_unix_ns=time_unix_ns, previous_block_hash=merkle.leaf_hash(genesis))
    ).SerializeToString()
    for entry in (genesis, block):
        strict.check_entry(entry)
    return GroupWrite(
        first_index=0,
        packed=packed.pack([genesis, block]),
        leaf_hashes=merkle.leaf_hash(genesis) + merkle.leaf_hash(block),
        batches=[],
        chains={},
        producers={},
        block_number=1,
        block_index=1,
    )
