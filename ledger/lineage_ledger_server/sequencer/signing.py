"""The ledger's private keys: which of them signs, and how another one takes its place.

The log says which key is in force: the newest `ledger_key` entry, or else the genesis. The private keys are files,
found by their public keys, so that a crash between any two steps of a rotation leaves a ledger that opens and signs:

1. `keys/ledger.key.new` is there before the change is asked for;
2. the change is committed, as part of a group; from here on only the new key signs;
3. the checkpoint over it is signed and on record;
4. `ledger.key` gets the name of a retired key, `ledger.key.new` becomes `ledger.key`, `verifier.key` says the new one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import structlog

from lineage_ledger.errors import SettingsError
from lineage_ledger.formats import admin, keys, strict
from lineage_ledger.formats.ledger_keys import MAX_CHANGES, LedgerKeys
from lineage_ledger.formats.note import Signer, Verifier
from lineage_ledger.formats.strict_rules import MAX_ENTRY_BYTES
from lineage_ledger.v1 import entry_pb2
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.errors import AdminError, LimitError

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A change of the ledger's key whose signatures check, with the private key that it puts in force."""

    entry: bytes
    body: entry_pb2.LedgerKeyChange
    new_key: keys.SigningKey


def check_key_change(entry: bytes, origin: str, admin_public_keys: frozenset[bytes], new_key_file: Path) -> KeyChange:
    """Check a change of the ledger's key by itself, its signatures and the new private key included.

    Raises `MalformedEntryError`, `AdminError`, `SignatureError` or `InvalidKeyError`.
    """
    if len(entry) > MAX_ENTRY_BYTES:
        raise AdminError(
            f"the entry has {len(entry):,} bytes, at most {MAX_ENTRY_BYTES:,} are taken", reason="ENTRY_TOO_LARGE"
        )
    parsed = strict.parse_entry(entry)
    if not parsed.HasField("ledger_key"):
        raise AdminError(
            f"this call takes an entry of kind ledger_key, not {parsed.WhichOneof('kind')}", reason="KIND_NOT_ALLOWED"
        )
    body = admin.check_ledger_key_entry(parsed, origin, admin_public_keys)
    if not new_key_file.exists():
        raise AdminError(
            f"the server has no file {new_key_file}, which must hold the new key before it is put in force",
            reason="INVALID_ARGUMENT",
        )
    name, new_key = keys.read_signing_key(new_key_file)
    if name != origin or new_key.public_key != body.new_public_key:
        raise AdminError(
            f"{new_key_file} holds the key {Verifier(name, new_key.public_key)}, and not the one that the entry puts "
            f"in force, {body.new_public_key.hex()}",
            reason="INVALID_ARGUMENT",
        )
    return KeyChange(entry, body, new_key)


def check_follows(change: KeyChange, ledger_keys: LedgerKeys) -> None:
    """Whether the change may come next in the ledger. Raises `AdminError` or `LimitError`."""
    body = change.body
    if body.old_public_key != ledger_keys.newest.public_key:
        raise AdminError(
            f"the entry replaces the key {body.old_public_key.hex()}, the ledger's is "
            f"{ledger_keys.newest.public_key.hex()}; make the entry again with that one",
            reason="INVALID_ARGUMENT",
        )
    if body.new_public_key in {key.public_key for _, key in ledger_keys.changes}:
        raise AdminError(
            f"the ledger had the key {body.new_public_key.hex()} before; it takes none a second time",
            reason="INVALID_ARGUMENT",
        )
    if len(ledger_keys.changes) > MAX_CHANGES:
        raise LimitError(
            f"the ledger's key was changed {MAX_CHANGES:,} times, which is the limit",
            limit="max_ledger_key_changes",
            value=MAX_CHANGES,
        )


class LedgerSigner:
    """Signs with the key in force. Changed by the sequencer's thread alone; any thread may read `keys`.

    Raises `SettingsError` if no file has the private key that is in force, and `InvalidKeyError` for one that is none.
    """

    def __init__(self, data_dir: DataDir, ledger_keys: LedgerKeys) -> None:
        self._data_dir = data_dir
        self.keys = ledger_keys
        self.settled = False
        """Whether the key files have their names, as far as is known."""
        self._private: dict[bytes, keys.SigningKey] = {}
        for path in (data_dir.new_ledger_key, data_dir.ledger_key):
            if path.exists():
                _, key = keys.read_signing_key(path)
                self._private[key.public_key] = key
        if ledger_keys.newest.public_key not in self._private:
            raise SettingsError(
                f"neither {data_dir.ledger_key} nor {data_dir.new_ledger_key.name} beside it is the ledger's key "
                f"{ledger_keys.newest}, which the log says is in force; put that one back from its backup. If that is "
                "a key from before a change, the log's row of changes is gone: restore the log from a copy"
            )

    @property
    def signer(self) -> Signer:
        """The key in force for what is signed next."""
        verifier = self.keys.newest
        return Signer(verifier.name, self._private[verifier.public_key])

    def changed(self, change: KeyChange, index: int) -> None:
        """The change was committed at `index`."""
        self._private[change.new_key.public_key] = change.new_key
        new = Verifier(self.keys.name, change.new_key.public_key)
        self.keys = LedgerKeys((*self.keys.changes, (index, new)))
        self.settled = False
        _log.info("the ledger's key was changed", index=index, verifier_key=str(new))

    def settle(self) -> None:
        """Give the key files their names, once a checkpoint of the key in force is on record; again does no harm.

        Raises `SettingsError` for files that are in the way or gone, `InvalidKeyError`, `OSError`.
        """
        files, newest = self._data_dir, self.keys.newest
        held = _verifier_in(files.ledger_key)
        if held != newest:
            if held is not None and held not in {verifier for _, verifier in self.keys.changes}:
                raise SettingsError(f"{files.ledger_key} is {held}, no key that this ledger had; move it elsewhere")
            if _verifier_in(files.new_ledger_key) != newest:
                raise SettingsError(f"{files.new_ledger_key} is gone, the key in force; restore {newest}")
            files.promote_ledger_key(held.key_id if held is not None else None)
        files.write_verifier_key(str(newest))
        self.settled = True


def _verifier_in(path: Path) -> Verifier | None:
    """The public half of a key file; None: there is no such file."""
    if not path.exists():
        return None
    name, key = keys.read_signing_key(path)
    return Verifier(name, key.public_key)
