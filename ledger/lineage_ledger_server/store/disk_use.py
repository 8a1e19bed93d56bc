"""What the bytes of a ledger's files hold, from LMDB's own page counts: only the tables' roots are read for it."""

from __future__ import annotations

from typing import NamedTuple

from lineage_ledger_server.store.environment import Environment
from lineage_ledger_server.store.rows import TILE_BYTES


class LogUse(NamedTuple):
    """Bytes of the log's file by what they hold, in whole pages; they add up to its pages."""

    entries: int
    """Packed entries, and what is left of the last page of each bundle."""
    leaf_hashes: int
    """Of full bundles; those of the newest entries, at most 255, stand with these."""
    tiles: int
    """From level 1 on."""
    batches: int
    """Where each batch lies: `batches`, and `directory` by chain."""
    rows: int
    """Chains, producers, blocks, and what LMDB keeps for itself."""
    free: int
    """Pages that the next commits fill before the file grows, and LMDB's list of them."""


class IndexUse(NamedTuple):
    """The same of the indexes' file."""

    runs: int
    """Request ids."""
    postings: int
    rows: int
    free: int


def log_use(environment: Environment) -> LogUse:
    """Of an environment with the log's tables. Raises StoreError."""
    use = environment.page_use()
    leaf_hashes = use.rows["bundles"] * TILE_BYTES
    entries = use.table_bytes["bundles"] + use.table_bytes["tail"] - leaf_hashes
    batches = use.table_bytes["batches"] + use.table_bytes["directory"]
    tiles = use.table_bytes["tiles"]
    rows = sum(use.table_bytes.values()) + use.own_bytes - entries - leaf_hashes - tiles - batches
    return LogUse(entries, leaf_hashes, tiles, batches, rows, use.free_bytes)


def index_use(environment: Environment) -> IndexUse:
    """Of an environment with the indexes' tables. Raises StoreError."""
    use = environment.page_use()
    runs, postings = use.table_bytes["runs"], use.table_bytes["postings"]
    rows = sum(use.table_bytes.values()) + use.own_bytes - runs - postings
    return IndexUse(runs, postings, rows, use.free_bytes)
