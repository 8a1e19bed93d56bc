"""A witness and its folder, which one process has at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lineage_ledger.errors import SettingsError
from lineage_ledger.formats.note import Cosigner, Verifier
from lineage_ledger_server.store.lock import ExclusiveLock
from lineage_ledger_server.store.witness_store import WitnessStore
from lineage_ledger_server.witness.witness import Witness


@contextmanager
def open_witness(data: Path, cosigner: Cosigner, logs: Iterable[Verifier]) -> Iterator[Witness]:
    """The witness whose record is in the folder `data` (mode 0700), made if it is not there.

    Raises `SettingsError`, `LockedError` or `StoreError`.
    """
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"cannot make the folder {data}: {error.strerror}") from error
    lock = ExclusiveLock(data / "lock")
    try:
        store = WitnessStore(data / "cosigned")
        try:
            yield Witness(cosigner, logs, store)
        finally:
            store.close()
    finally:
        lock.release()
