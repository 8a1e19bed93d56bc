"""A ledger on disk: creating it, and opening it to write."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from lineage_ledger.errors import CorruptError, SettingsError
from lineage_ledger.formats import keys, merkle, note, strict
from lineage_ledger.formats.ledger_keys import LedgerKeys
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.errors import NotWitnessedError
from lineage_ledger_server.head import Head, HeadRecord
from lineage_ledger_server.publication import Publication, Rule, write_rule
from lineage_ledger_server.reading.log_reader import LogReader
from lineage_ledger_server.sequencer.clock import LedgerClock
from lineage_ledger_server.sequencer.genesis import genesis_group
from lineage_ledger_server.sequencer.sequencer import (
    Position,
    Sequencer,
    Status,
    ignore_head,
    ignore_status,
    sign_head,
)
from lineage_ledger_server.sequencer.signing import LedgerSigner
from lineage_ledger_server.store.lock import ExclusiveLock
from lineage_ledger_server.store.log_store import LogStore
from lineage_ledger_server.store.reconcile import Standing, reconcile
from lineage_ledger_server.witnessing.settings import WitnessSettings
from lineage_ledger_server.witnessing.witnesses import Witnesses, check_record

_log = structlog.get_logger(__name__)

_CLOCKS_DIFFER_S = 1.0  # less is how clocks are


@dataclass(frozen=True, slots=True)
class Ledger:
    """An opened ledger and all that writes and reads it."""

    origin: str
    data_dir: DataDir
    signer: LedgerSigner
    admin_public_keys: frozenset[bytes]
    store: LogStore
    signed_reader: LogReader
    """Up to what was signed, which the sequencer and its acknowledgements go by."""
    reader: LogReader
    """Up to what is published, for everybody else; the same one unless witnesses are required."""
    publication: Publication
    witnesses: Witnesses | None
    """None without a witness policy."""
    sequencer: Sequencer
    lock: ExclusiveLock

    @property
    def verifier(self) -> note.Verifier:
        """The key of the newest published checkpoint, the first one if there is none; its text is what clients pin."""
        return self.signer.keys.verifier_at(self.published_size)

    @property
    def published_size(self) -> int:
        """Entries that readers see; 0 while witnesses are required and cosigned nothing yet."""
        try:
            return self.reader.head().size
        except NotWitnessedError:
            return 0

    def close(self) -> None:
        """Commit and answer what waits, then let go of everything."""
        self.sequencer.stop()
        if self.witnesses is not None:
            self.witnesses.stop()
        self.publication.close()
        self.store.close()
        self.lock.release()


def open_ledger(
    data_dir: DataDir,
    *,
    origin: str | None = None,
    block_interval_s: float = 60.0,
    on_status: Callable[[Status], object] = ignore_status,
    witnessing: WitnessSettings | None = None,
) -> Ledger:
    """Open the ledger in `data_dir` to write, making it first if there is none; the sequencer is running afterwards.

    `origin` names a new ledger (by default it gets a random name) and must be that of an existing one. Raises
    `LockedError`, `HeadMismatchError`, `CorruptError`, `InvalidKeyError`, `SettingsError`, or `VerificationError` for a
    head record that none of the ledger's keys signed.
    """
    data_dir.make()
    lock = ExclusiveLock(data_dir.lock)
    store: LogStore | None = None
    try:
        is_new = not data_dir.exists
        name = _name(data_dir, origin)
        store = LogStore.open(data_dir.log)
        if is_new:
            _create(data_dir, store)
        return _open(data_dir, store, lock, name, block_interval_s, on_status, witnessing)
    except BaseException:
        if store is not None:
            store.close()
        lock.release()
        raise


def _name(data_dir: DataDir, origin: str | None) -> str:
    """The origin, which is the name of the ledger's key; a new ledger gets its key here."""
    held = next((path for path in (data_dir.ledger_key, data_dir.new_ledger_key) if path.exists()), None)
    if held is None:
        if data_dir.exists or data_dir.log.exists():
            raise SettingsError(
                f"{data_dir.ledger_key} is missing, the ledger cannot sign without it; put the key back from its backup"
            )
        name = origin or f"ledger.local/{secrets.token_hex(4)}"
        keys.check_name(_admin_name(name))  # the longer of the two
        keys.check_name(name)
        held = data_dir.ledger_key
        keys.write_signing_key(held, name, keys.SigningKey.generate())
    name, _ = keys.read_signing_key(held)
    if origin is not None and origin != name:
        raise SettingsError(
            f"the ledger in {data_dir.root} has the origin {name!r}, not {origin!r}; leave --origin out"
        )
    return name


def _create(data_dir: DataDir, store: LogStore) -> None:
    """Admin key, genesis, first block. The verifier key's file is last: without it creating starts where it stopped."""
    signer = note.Signer(*keys.read_signing_key(data_dir.ledger_key))
    if store.size == 0:
        if not data_dir.admin_key.exists():
            keys.write_signing_key(data_dir.admin_key, _admin_name(signer.name), keys.SigningKey.generate())
        _, admin_key = keys.read_signing_key(data_dir.admin_key)
        store.append(genesis_group(signer.name, signer.key.public_key, [admin_key.public_key], time.time_ns()))
    data_dir.write_verifier_key(str(signer.verifier))
    _log.info("created ledger", origin=signer.name, verifier_key=str(signer.verifier))


def _admin_name(origin: str) -> str:
    return f"{origin}/admin"


def _open(
    data_dir: DataDir,
    store: LogStore,
    lock: ExclusiveLock,
    name: str,
    block_interval_s: float,
    on_status: Callable[[Status], object],
    witnessing: WitnessSettings | None,
) -> Ledger:
    head_record = HeadRecord(data_dir.head)
    head = head_record.read()
    standing = reconcile(head, store)
    # All that is committed, the head's tree or what lies beyond it, which was hashed again just now: a crash may have
    # come between a change of the key and the first checkpoint of the new one.
    committed = Head(store.size, store.root(), b"")
    signer = LedgerSigner(data_dir, _ledger_keys(LogReader(store, lambda: committed), data_dir, name))
    if head is not None:
        signer.keys.open(head.note)
    if standing is not Standing.CURRENT:
        head_record.write(sign_head(store, signer.signer))
    signer.settle()
    reader = LogReader(store, head_record)
    witnesses = _open_witnesses(data_dir, reader, signer.keys, witnessing)
    publication = Publication(data_dir, head_record)
    genesis = strict.parse_entry(reader.entry(0)).genesis
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
        on_head=ignore_head if witnesses is None else witnesses.offer,
    )
    if witnesses is not None:
        witnesses.offer(reader.head())
        witnesses.start()
    sequencer.start()
    return Ledger(
        origin=name,
        data_dir=data_dir,
        signer=signer,
        admin_public_keys=frozenset(genesis.admin_public_keys),
        store=store,
        signed_reader=reader,
        reader=LogReader(store, publication.head) if witnesses is not None and witnesses.required else reader,
        publication=publication,
        witnesses=witnesses,
        sequencer=sequencer,
        lock=lock,
    )


def _open_witnesses(
    data_dir: DataDir, reader: LogReader, ledger_keys: LedgerKeys, settings: WitnessSettings | None
) -> Witnesses | None:
    """Who gets checkpoints cosigned; and the rule by which readers see heads is in force when this returns.

    What was cosigned is held against the log even where nobody is asked any more. Raises `HeadMismatchError`.
    """
    if settings is not None:
        settings.check(ledger_keys.name, [key for _, key in ledger_keys.changes])
    rule = Rule.SIGNED
    if settings is not None:
        rule = Rule.COSIGNED_ONLY if settings.required else Rule.COSIGNED_TOO
    if settings is None and not data_dir.cosigned.exists():
        write_rule(data_dir, rule, reader.head().size)
        return None
    record = HeadRecord(data_dir.cosigned)
    try:
        witnessed = check_record(record, reader, reader.head())
        if witnessed is not None:
            ledger_keys.open(witnessed.note)
        write_rule(data_dir, rule, reader.head().size)
        if settings is None:
            record.close()
            return None
        return Witnesses(settings, record, reader, witnessed)
    except BaseException:
        record.close()
        raise


def _ledger_keys(reader: LogReader, data_dir: DataDir, name: str) -> LedgerKeys:
    """The keys that the log says the ledger had. Raises `SettingsError` if it is another ledger's."""
    genesis = strict.parse_entry(reader.entry(0)).genesis
    if genesis.origin != name:
        raise SettingsError(
            f"{data_dir.ledger_key} is the key of {name!r}, the log is that of {genesis.origin!r}; "
            "put the right key there"
        )
    return reader.ledger_keys()
