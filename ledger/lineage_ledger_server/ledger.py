"""A ledger on disk: creating it, and opening it to write."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from lineage_ledger.errors import CorruptError, SettingsError
from lineage_ledger.formats import checkpoint, keys, merkle, note, strict
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.head import HeadRecord
from lineage_ledger_server.reading.log_reader import LogReader
from lineage_ledger_server.sequencer.clock import LedgerClock
from lineage_ledger_server.sequencer.genesis import genesis_group
from lineage_ledger_server.sequencer.sequencer import Position, Sequencer, Status, ignore_status, sign_head
from lineage_ledger_server.store.lock import ExclusiveLock
from lineage_ledger_server.store.log_store import LogStore
from lineage_ledger_server.store.reconcile import Standing, reconcile

_log = structlog.get_logger(__name__)

_CLOCKS_DIFFER_S = 1.0  # less is how clocks are


@dataclass(frozen=True, slots=True)
class Ledger:
    """An opened ledger and all that writes and reads it."""

    origin: str
    verifier: note.Verifier
    """Of the checkpoints; its text is what clients pin."""
    admin_public_keys: frozenset[bytes]
    store: LogStore
    reader: LogReader
    sequencer: Sequencer
    lock: ExclusiveLock

    def close(self) -> None:
        """Commit and answer what waits, then let go of everything."""
        self.sequencer.stop()
        self.store.close()
        self.lock.release()


def open_ledger(
    data_dir: DataDir,
    *,
    origin: str | None = None,
    block_interval_s: float = 60.0,
    on_status: Callable[[Status], object] = ignore_status,
) -> Ledger:
    """Open the ledger in `data_dir` to write, making it first if there is none; the sequencer is running afterwards.

    `origin` names a new ledger (by default it gets a random name) and must be that of an existing one. Raises
    `LockedError`, `HeadMismatchError`, `CorruptError`, `InvalidKeyError` or `SettingsError`.
    """
    data_dir.make()
    lock = ExclusiveLock(data_dir.lock)
    store: LogStore | None = None
    try:
        is_new = not data_dir.exists
        signer = _ledger_signer(data_dir, origin)
        store = LogStore.open(data_dir.log)
        if is_new:
            _create(data_dir, store, signer)
        return _open(data_dir, store, lock, signer, block_interval_s, on_status)
    except BaseException:
        if store is not None:
            store.close()
        lock.release()
        raise


def _ledger_signer(data_dir: DataDir, origin: str | None) -> note.Signer:
    """The ledger's key; its name is the origin."""
    if not data_dir.ledger_key.exists():
        if data_dir.exists or data_dir.log.exists():
            raise SettingsError(
                f"{data_dir.ledger_key} is missing, the ledger cannot sign without it; put the key back from its backup"
            )
        name = origin or f"ledger.local/{secrets.token_hex(4)}"
        keys.check_name(_admin_name(name))  # the longer of the two
        keys.check_name(name)
        keys.write_signing_key(data_dir.ledger_key, name, keys.SigningKey.generate())
    name, key = keys.read_signing_key(data_dir.ledger_key)
    if origin is not None and origin != name:
        raise SettingsError(
            f"the ledger in {data_dir.root} has the origin {name!r}, not {origin!r}; leave --origin out"
        )
    return note.Signer(name, key)


def _create(data_dir: DataDir, store: LogStore, signer: note.Signer) -> None:
    """Admin key, genesis, first block. The verifier key's file is last: without it creating starts where it stopped."""
    if store.size == 0:
        if not data_dir.admin_key.exists():
            keys.write_signing_key(data_dir.admin_key, _admin_name(signer.name), keys.SigningKey.generate())
        _, admin_key = keys.read_signing_key(data_dir.admin_key)
        store.append(genesis_group(signer.name, signer.key.public_key, [admin_key.public_key], time.time_ns()))
    _write_text_atomically(data_dir.verifier_key, f"{signer.verifier}\n")
    _log.info("created ledger", origin=signer.name, verifier_key=str(signer.verifier))


def _admin_name(origin: str) -> str:
    return f"{origin}/admin"


def _open(
    data_dir: DataDir,
    store: LogStore,
    lock: ExclusiveLock,
    signer: note.Signer,
    block_interval_s: float,
    on_status: Callable[[Status], object],
) -> Ledger:
    head_record = HeadRecord(data_dir.head)
    head = head_record.read()
    if head is not None:
        checkpoint.Checkpoint.open(head.note, signer.verifier)
    if reconcile(head, store) is not Standing.CURRENT:
        head_record.write(sign_head(store, signer))
    reader = LogReader(store, head_record)
    genesis = strict.parse_entry(reader.entry(0)).genesis
    if genesis.origin != signer.name or genesis.ledger_public_key != signer.verifier.public_key:
        raise SettingsError(
            f"{data_dir.ledger_key} is the key of {signer.name!r}, the log is that of {genesis.origin!r}; "
            "put the right key there"
        )
    with store.snapshot() as snapshot:
        last = snapshot.last_block()
    if last is None:
        raise CorruptError("the log has no row for its newest block; run `lineage audit`")
    number, index = last
    entry = reader.entry(index)
    block = strict.parse_entry(entry).block
    if block.number != number:
        raise CorruptError(f"the stored row of block {number} points at another entry; run `lineage audit`")
    ahead_s = (block.time_unix_ns - time.time_ns()) / 1e9
    if ahead_s > _CLOCKS_DIFFER_S:
        _log.warning(
            "the newest block's time is ahead of this machine's clock: new blocks repeat that time until the clock "
            "has passed it. Is the clock wrong now, or was it when that block was made?",
            ahead_s=round(ahead_s),
            block=number,
            block_time_unix_ns=block.time_unix_ns,
        )
    sequencer = Sequencer(
        store=store,
        head_record=head_record,
        reader=reader,
        signer=signer,
        position=Position(number, merkle.leaf_hash(entry)),
        clock=LedgerClock(block.time_unix_ns),
        block_interval_s=block_interval_s,
        on_status=on_status,
    )
    sequencer.start()
    return Ledger(
        origin=signer.name,
        verifier=signer.verifier,
        admin_public_keys=frozenset(genesis.admin_public_keys),
        store=store,
        reader=reader,
        sequencer=sequencer,
        lock=lock,
    )


def _write_text_atomically(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
