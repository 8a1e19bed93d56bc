"""`lineage checkpoint`: the ledger's signed checkpoint, to be kept where the ledger is not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lineage_ledger.checkpoint_file import replace_file
from lineage_ledger.cli.options import Access, access_options, examples, output_option, witness_policy_option
from lineage_ledger.cli.output import Fields, Output
from lineage_ledger.cli.receipt import FileError
from lineage_ledger.cli.types import FILE
from lineage_ledger.errors import MalformedError, ProofError, VerificationError
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.note import MAX_NOTE_BYTES
from lineage_ledger.formats.witness_policy import WitnessPolicy

if TYPE_CHECKING:
    from lineage_ledger.client import Client


@click.command(
    epilog=examples(
        "lineage checkpoint --data ledger",
        "lineage checkpoint --server ledger.example.com:7461 --ca-file ca.pem --verifier-key ledger.vkey "
        "-o kept.checkpoint",
        "lineage checkpoint --data ledger --compare theirs.txt --compare https://mirror.example.com/log/checkpoint",
        "lineage audit --data ledger --key ledger.vkey --checkpoint kept.checkpoint",
    )
)
@click.option("-o", "--output", "path", type=FILE, help="File to keep it in. [default: print it]")
@click.option(
    "--compare",
    "others",
    multiple=True,
    metavar="FILE|URL",
    help="A checkpoint that somebody else saw, to be proven to be of one history with the newest; may be given again.",
)
@click.option("--witnessed", is_flag=True, help="The newest that the ledger's witnesses have cosigned.")
@witness_policy_option("The same, and it must have a quorum of these witnesses (C2SP tlog-policy).")
@access_options
@output_option
def checkpoint(
    path: Path | None,
    others: tuple[str, ...],
    witnessed: bool,
    witness_policy: WitnessPolicy | None,
    access: Access,
    out: Output,
) -> None:
    """Print or keep the newest checkpoint.

    It is a signed note (C2SP tlog-checkpoint), checked with the pinned key. Keep it on another machine, and give it to
    `lineage audit --checkpoint`: what was in the ledger then cannot be cut off or changed unnoticed.

    Where FILE holds an earlier checkpoint of the same ledger, the server first proves that the new one goes on from
    it. A file with anything else, or with a newer checkpoint, is never overwritten.

    A ledger that shows different histories to different people is caught when they compare what they saw (--compare).
    """
    notes = [_seen(other) for other in others]
    kept_note = None if path is None else _kept(path)
    with access.client() as client:
        kept = None if path is None or kept_note is None else _opened(client, path, kept_note)
        newest, note = client.signed_checkpoint(witnessed=witnessed or witness_policy is not None)
        if witness_policy is not None:
            witness_policy.check(note, access.verifier)
        compared = [_compared(client, other, seen) for other, seen in zip(others, notes, strict=True)]
        if path is not None and kept is not None:
            if kept.size > newest.size:
                raise VerificationError(
                    f"{path} holds a checkpoint over {kept.size:,} entries, the server's newest is over "
                    f"{newest.size:,}: the ledger was cut off or put back from a copy, unless this server is behind. "
                    "The file was left as it is"
                )
            try:
                client.consistency_proof(kept, newest)
            except ProofError as error:
                raise ProofError(
                    f"the server's checkpoint over {newest.size:,} entries does not go on from the one over "
                    f"{kept.size:,} in {path}: the ledger's history was changed. The file was left as it is ({error})"
                ) from error
    document: dict[str, Any] = {
        "origin": newest.origin,
        "tree_size": newest.size,
        "root": newest.root.hex(),
        "checkpoint": note.decode(),
    }
    if others:
        pairs = list(zip(others, compared, strict=True))
        document["compared"] = [{"with": other, "tree_size": seen.size} for other, seen in pairs]
        for other, seen in pairs:
            out.remark(f"{other}: over {seen.size:,} entries, of one history with this one, proven")
    if path is None:
        out.show(document)
        for line in note.decode().splitlines():
            out.raw(line)
        return
    keep_file(path, note)
    before = {} if kept is None else {"continues_tree_size": kept.size}
    out.show(
        document | before | {"file": str(path)},
        Fields(
            [
                ("wrote", str(path)),
                ("origin", newest.origin),
                ("entries", f"{newest.size:,}"),
                *([("goes on from", f"{kept.size:,} entries, proven")] if kept is not None else []),
            ]
        ),
    )


def _seen(place: str) -> bytes:
    """What a file or a web server holds, at most as much as a note may have. Raises `FileError`, `WebError`."""
    if place.startswith(("https://", "http://")):
        from lineage_ledger.web import HttpClient

        return HttpClient().get(place, MAX_NOTE_BYTES).body
    try:
        with Path(place).open("rb") as file:
            return file.read(MAX_NOTE_BYTES + 1)
    except OSError as error:
        raise FileError(f"cannot read {place}: {error.strerror}") from error


def _compared(client: Client, place: str, note: bytes) -> Checkpoint:
    """What was seen at `place`. Raises `FileError` for what is no checkpoint, and as `Client.compare`."""
    try:
        return client.compare(note)[0]
    except MalformedError as error:
        raise FileError(f"{place} holds no checkpoint: {error}") from error


def _kept(path: Path) -> bytes | None:
    """What the file holds; None if there is no file. Raises `FileError`."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_NOTE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error


def _opened(client: Client, path: Path, note: bytes) -> Checkpoint:
    """The checkpoint that was kept. Raises `FileError`."""
    try:
        return client.open_checkpoint(note)
    except (MalformedError, VerificationError) as error:
        raise FileError(
            f"{path} is there and holds no checkpoint of {client.origin}; choose another name ({error})"
        ) from error


def keep_file(path: Path, content: bytes) -> None:
    """Replace a file of the user's as a whole. Raises `FileError`."""
    try:
        replace_file(path, content)
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}") from error
