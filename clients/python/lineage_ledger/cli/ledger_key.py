"""`lineage ledger-key`: the key that signs the checkpoints."""

from __future__ import annotations

import time
from pathlib import Path

import click

from lineage_ledger.cli.options import Access, examples, output_option
from lineage_ledger.cli.output import Fields, Output
from lineage_ledger.cli.producers import admin_options
from lineage_ledger.cli.types import FILE
from lineage_ledger.errors import InvalidKeyError, SettingsError
from lineage_ledger.formats import strict
from lineage_ledger.formats.admin import build_ledger_key_change
from lineage_ledger.formats.keys import SigningKey, read_signing_key, write_signing_key
from lineage_ledger.formats.note import Verifier
from lineage_ledger.formats.strict_rules import MAX_ENTRY_BYTES
from lineage_ledger.v1 import entry_pb2

_HINT = (
    "Who pinned an earlier key goes on: clients, emitters and receipts follow from it. Give the new one to whoever "
    "pins one from now on, and to witnesses. The earlier private key is of no more use to the ledger: destroy it, or "
    "keep it where no server is."
)


@click.group(
    "ledger-key",
    epilog=examples(
        "lineage ledger-key rotate --data ledger",
        "lineage ledger-key rotate --data ledger --admin-key /media/usb/admin.key",
    ),
)
def ledger_key() -> None:
    """Change the key that signs the ledger's checkpoints."""


@ledger_key.command(
    epilog=examples(
        "lineage ledger-key rotate --data ledger",
        "lineage ledger-key rotate --data ledger --admin-key /media/usb/admin.key",
        "lineage ledger-key rotate --data ledger --entry change.entry",
    )
)
@click.option("--entry", "entry_file", type=FILE, help="Instead of signing here: what `lineage ledger-key sign` made.")
@admin_options
def rotate(entry_file: Path | None, access: Access, admin_key: Path | None, out: Output) -> None:
    """Put a new key in force.

    Makes DIR/keys/ledger.key.new, if it is not there, and signs the change with the key in force, the new one and the
    admin's. The running server writes it into the ledger; every checkpoint from then on is signed by the new key. What
    was signed before stays valid, and whoever pinned an earlier key goes on with that.

    Broken off at any point it can be run again: until the ledger says otherwise, the old key is in force.
    """
    if entry_file is None and access.data is None:
        raise click.UsageError("give the ledger's folder (--data DIR), in which its keys are, or a signed --entry FILE")
    with access.client() as client:  # First: where no ledger is served, no key is made.
        if entry_file is not None:
            entry = _read_entry(entry_file)
        else:
            folder = Path(access.data or "") / "keys"
            entry = _signed(
                folder / "ledger.key", _made(folder / "ledger.key.new", access), access.admin_key(admin_key)
            )
        index = client.change_ledger_key(entry)
        origin = client.origin
    change = entry_pb2.LedgerKeyChange.FromString(strict.parse_entry(entry).ledger_key.body)
    old, new = (Verifier(origin, key) for key in (change.old_public_key, change.new_public_key))
    out.show(
        {"verifier_key": str(new), "replaced": str(old), "index": index},
        Fields([("in force", str(new)), ("replaced", str(old)), ("index", str(index))]),
        ((_HINT, "dim"),),
    )


@ledger_key.command(
    epilog=examples(
        "lineage ledger-key sign --old-key ledger.key --new-key ledger.key.new --admin-key admin.key "
        "--output change.entry"
    )
)
@click.option("--old-key", type=FILE, required=True, help="The key in force.")
@click.option("--new-key", type=FILE, required=True, help="The key to be put in force; made if it is not there.")
@click.option("--admin-key", type=FILE, required=True, help="The admin's signing key.")
@click.option("-o", "--output", type=FILE, required=True, help="File to write the signed entry to.")
@output_option
def sign(old_key: Path, new_key: Path, admin_key: Path, output: Path, out: Output) -> None:
    """Sign a change of the key on a machine without the ledger.

    Asks nobody. The new key's file must then be the ledger's DIR/keys/ledger.key.new, before `lineage ledger-key
    rotate --entry` puts it in force.
    """
    name, _ = read_signing_key(old_key)
    if not new_key.exists():
        write_signing_key(new_key, name, SigningKey.generate())
    entry = _signed(old_key, new_key, read_signing_key(admin_key)[1])
    try:
        with output.open("xb") as file:
            file.write(entry)
    except OSError as error:
        raise SettingsError(f"cannot write {output}: {error.strerror}") from error
    verifier = Verifier(*_public(new_key))
    out.show(
        {"file": str(output), "verifier_key": str(verifier), "new_key_file": str(new_key)},
        Fields([("wrote", str(output)), ("puts in force", str(verifier)), ("new key file", str(new_key))]),
    )


def _made(path: Path, access: Access) -> Path:
    """The file of the new key; what an earlier attempt left is used."""
    if not path.exists():
        write_signing_key(path, access.verifier.name, SigningKey.generate())
    return path


def _signed(old_file: Path, new_file: Path, admin_key: SigningKey) -> bytes:
    name, old_key = read_signing_key(old_file)
    new_name, new_key = read_signing_key(new_file)
    if new_name != name:
        raise InvalidKeyError(
            f"{new_file} is a key of {new_name!r}, {old_file} of {name!r}: a ledger's keys have its origin as name"
        )
    return build_ledger_key_change(
        name, old_key=old_key, new_key=new_key, time_unix_ns=time.time_ns(), admin_key=admin_key
    )


def _public(path: Path) -> tuple[str, bytes]:
    name, key = read_signing_key(path)
    return name, key.public_key


def _read_entry(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            entry = file.read(MAX_ENTRY_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    strict.check_entry(entry)
    return entry
