"""`lineage receipt`: a file that proves an entry to anybody, offline."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from lineage_ledger.cli.lineage import parse_subject
from lineage_ledger.cli.options import Access, access_options, examples, output_option
from lineage_ledger.cli.output import Fields, Output
from lineage_ledger.errors import LineageError, MalformedError
from lineage_ledger.formats.tlog_proof import TlogProof
from lineage_ledger.v1 import entry_pb2

ENTRY_SUFFIX = ".entry"
"""Beside a tlog-proof `FILE`, its entry's bytes are in `FILE.entry`."""


class FileError(LineageError):
    """A file that cannot be written."""


@click.command(
    epilog=examples(
        "lineage receipt --data ledger 8f5e2c0d9a1b4c7e8f5e2c0d9a1b4c7e-12-a1b2c3d4 -o loan.receipt",
        "lineage receipt --data ledger 1203 -o entry.tlog-proof",
        "lineage receipt --data ledger 1203 -o entry.tlog-proof --witnessed",
    )
)
@click.argument("what", metavar="ID|INDEX")
@click.option(
    "-o", "--output", "file", required=True, type=click.Path(dir_okay=False, path_type=Path), help="File to write."
)
@click.option("--force", is_flag=True, help="Overwrite the file if it is there.")
@click.option("--witnessed", is_flag=True, help="Under a checkpoint that the ledger's witnesses have cosigned.")
@access_options
@output_option
def receipt(what: str, file: Path, force: bool, witnessed: bool, access: Access, out: Output) -> None:
    """Write a file that proves an entry offline.

    `lineage verify` checks it without any server.

    For a prediction's id it is a lineage receipt, which proves the prediction with all it came from. For an index it
    is a C2SP tlog-proof; the entry's bytes, which it proves, are written beside it as FILE.entry. The receipt is
    verified before it is written.
    """
    subject = parse_subject(what)
    if isinstance(subject, entry_pb2.Digest):
        raise MalformedError("a receipt is for a prediction's id or an index; `lineage trace` finds the index")
    with access.client() as client:
        data = client.receipt(subject, witnessed=witnessed)
        key, entry = access.verifier, b""
        if isinstance(subject, int):
            # The pinned key leads to later ones in a lineage receipt; a tlog-proof knows of no change.
            key = client.verifier_at(client.open_checkpoint(TlogProof.parse(data).checkpoint).size)
            entry = client.get_entry(subject).data
    files = {file: data} | ({file.with_name(file.name + ENTRY_SUFFIX): entry} if entry else {})
    for path, content in files.items():
        write_new_file(path, content, force=force)
    out.show(
        {"files": [str(path) for path in files], "size_bytes": len(data), "verified": True},
        Fields([("wrote", f"{path}, {len(content):,} bytes") for path, content in files.items()]),
        (("verified", "bold green"), ("; anybody can check it with:", "")),
    )
    out.raw(f"lineage verify {shlex.quote(str(file))} --key {shlex.quote(str(key))}")


def write_new_file(path: Path, content: bytes, *, force: bool) -> None:
    """Write a file whole or not at all; over one that is there only with `force`. Raises `FileError`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if force else os.O_EXCL)
    try:
        descriptor = os.open(path, flags, 0o666)
    except FileExistsError:
        raise FileError(f"{path} is there already; choose another name, or overwrite it with --force") from None
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except OSError as error:
        if path.is_file():
            path.unlink()  # A piece of a receipt proves nothing, and would be in the way of the next attempt.
        raise FileError(f"cannot write {path}: {error.strerror}") from error
