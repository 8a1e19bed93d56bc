"""`lineage producers`: who may append."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lineage_ledger.cli.keygen import RegistrationRequest
from lineage_ledger.cli.options import Access, access_options, examples, output_option
from lineage_ledger.cli.output import Fields, Output, Table
from lineage_ledger.cli.types import FILE, HASH, TIME
from lineage_ledger.errors import InvalidKeyError
from lineage_ledger.formats.describe import format_time
from lineage_ledger.formats.keys import read_signing_key
from lineage_ledger.v1 import admin_pb2


def admin_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--admin-key` to those that say where the ledger is."""
    option = click.option(
        "--admin-key",
        type=FILE,
        help="The admin's signing key. [default: DIR/keys/admin.key of --data]",
    )
    return access_options(option(output_option(command)))


@click.group(
    epilog=examples(
        "lineage producers list --data ledger",
        "lineage producers add --data ledger --key-file server.key",
    )
)
def producers() -> None:
    """Register, retire and list the producers of a ledger.

    Over the ledger's Unix socket (--data DIR), or over the network with the admin role (--server, --admin-key).
    """


@producers.command(
    epilog=examples(
        "lineage producers add --data ledger --key-file server.key",
        "lineage producers add --data ledger --request lineage-registration-request+model-server+rXzC…",
        "lineage producers add --server ledger.example.com:7461 --ca-file ca.pem --admin-key admin.key "
        "--verifier-key ledger.vkey --key-file server.key",
    )
)
@click.option("--key-file", type=FILE, help="The producer's signing key, as `lineage keygen` made it.")
@click.option("--request", metavar="LINE", help="Instead: what `lineage keygen --origin` printed.")
@click.option("--name", help="Name to register. [default: the key's]")
@admin_options
def add(
    key_file: Path | None, request: str | None, name: str | None, access: Access, admin_key: Path | None, out: Output
) -> None:
    """Register a producer's key, so that what it seals is taken."""
    if (key_file is None) == (request is None):
        raise click.UsageError("give the producer's key (--key-file FILE) or its request (--request LINE)")
    origin = access.verifier.name
    if key_file is not None:
        if not key_file.exists():
            raise InvalidKeyError(
                f"there is no key file {key_file}; make one with `lineage keygen {key_file} --name NAME`"
            )
        wanted = RegistrationRequest.of_key(*read_signing_key(key_file), origin)
    else:
        wanted = RegistrationRequest.parse(request or "", origin)
    with access.client() as client:
        index = client.producers_add(
            wanted.public_key,
            name or wanted.name,
            possession_signature=wanted.possession_signature,
            admin_key=access.admin_key(admin_key),
        )
    _show_change(out, "registered", wanted.public_key, index, name=name or wanted.name)


@producers.command(epilog=examples("lineage producers retire --data ledger 3b6a27bc…29 --last-block 1200"))
@click.argument("public_key", type=HASH)
@click.option(
    "--last-block",
    type=click.IntRange(1, (1 << 63) - 1),
    required=True,
    help="Last block, by number, in which the key's open chains may go on; `lineage stats` shows the newest.",
)
@admin_options
def retire(public_key: bytes, last_block: int, access: Access, admin_key: Path | None, out: Output) -> None:
    """Retire a key.

    It opens no chain from now on; those that are open go on up to a block.
    """
    with access.client() as client:
        index = client.producers_retire(public_key, last_block, admin_key=access.admin_key(admin_key))
    _show_change(out, "retired", public_key, index)


@producers.command(
    epilog=examples("lineage producers compromise --data ledger 3b6a27bc…29 --suspect-since 2026-03-01T12:00:00Z")
)
@click.argument("public_key", type=HASH)
@click.option("--suspect-since", type=TIME, required=True, help="Since when what the key signed is suspect (RFC 3339).")
@admin_options
def compromise(public_key: bytes, suspect_since: int, access: Access, admin_key: Path | None, out: Output) -> None:
    """Declare a key compromised.

    Nothing that it signs is taken from now on. What it signed and came on record at the time given or later, by the
    ledger's clock, stays there and is shown as suspect by `lineage verify`, `show`, `trace` and `audit`.
    """
    with access.client() as client:
        index = client.producers_compromise(public_key, suspect_since, admin_key=access.admin_key(admin_key))
    _show_change(out, "compromised", public_key, index)


@producers.command(
    "list", epilog=examples("lineage producers list --data ledger", "lineage producers list --data ledger --json")
)
@access_options
@output_option
def list_(access: Access, out: Output) -> None:
    """List all producers with the state of their keys."""
    with access.client() as client:
        documents = [_producer_document(producer) for producer in client.producers_list()]
    table = Table(
        ("name", "state", "registered at", "ended at", "public key"),
        [
            (
                document["name"],
                document["state"],
                str(document["registered_index"]),
                str(document.get("ended_index", "")),
                document["public_key"],
            )
            for document in documents
        ],
    )
    out.show({"producers": documents}, table)


def _producer_document(producer: admin_pb2.Producer) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": producer.name,
        "public_key": producer.public_key.hex(),
        "state": admin_pb2.ProducerState.Name(producer.state).removeprefix("PRODUCER_STATE_").lower(),
        "registered_index": producer.registered_index,
    }
    if producer.ended_index:
        document["ended_index"] = producer.ended_index
    if producer.last_block:
        document["last_block"] = producer.last_block
    if producer.suspect_since_unix_ns:
        document["suspect_since"] = format_time(producer.suspect_since_unix_ns)
    return document


def _show_change(out: Output, state: str, public_key: bytes, index: int, **more: str) -> None:
    document = {"state": state, "public_key": public_key.hex(), "index": index, **more}
    out.show(document, Fields([(state, public_key.hex()), *more.items(), ("index", str(index))]))
