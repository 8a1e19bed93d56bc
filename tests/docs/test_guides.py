"""The guides: what they tell to do works, and what they say of settings and limits is what the code says."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import click
import pytest

from lineage_ledger import receipts, trace
from lineage_ledger import web as http_client
from lineage_ledger.audit import state, workers
from lineage_ledger.cli import record
from lineage_ledger.cli import settings as command_settings
from lineage_ledger.emitter import settings as emitter_settings
from lineage_ledger.formats import (
    ledger_keys,
    prediction,
    receipt,
    seal,
    strict_rules,
    witness_policy,
    witness_protocol,
)
from lineage_ledger.sources import bounds, read_ahead
from lineage_ledger_server import head
from lineage_ledger_server.cli.serve import serve
from lineage_ledger_server.services import admin, append, calls, entries, find, pending
from lineage_ledger_server.serving import endpoint as grpc_endpoint
from lineage_ledger_server.serving import web
from lineage_ledger_server.store import environment
from tests.docs import guide
from tests.support.server import RunningServer

OPERATIONS = (guide.DOCS / "operations.md").read_text()
WITNESSES = (guide.DOCS / "witnesses.md").read_text()
EMITTING = (guide.DOCS / "emitting.md").read_text()

LIMITS = {
    "message to the server": grpc_endpoint.MAX_REQUEST_BYTES,
    "message from it": grpc_endpoint.MAX_ANSWER_BYTES,
    "connections at a time; more are closed": grpc_endpoint.MAX_CONNECTIONS,
    "answers that clients have not read yet, over all calls": calls.MAX_UNREAD_BYTES,
    "batches in a message of AppendStream, together": append.MAX_BYTES_PER_MESSAGE,
    "batches in a message of AppendStream": append.MAX_BATCHES_PER_MESSAGE,
    "packed batch, seal included": seal.MAX_BATCH_BYTES,
    "entries in a batch, seal not counted": seal.MAX_BATCH_ENTRIES,
    "entry": strict_rules.MAX_ENTRY_BYTES,
    "seal": seal.MAX_SEAL_BYTES,
    "ranges of losses in a seal": seal.MAX_LOST_RANGES,
    "deployments that a chain binds": prediction.MAX_BINDING_ROW,
    "request id": prediction.MAX_REQUEST_ID_BYTES,
    "append streams at a time (`--max-append-streams`)": 256,
    "unanswered bytes of an append stream, then it is read no further": pending.MAX_STREAM_BYTES,
    "bytes of batches that wait, over all append streams (`--max-pending-mib`)": pending.MAX_PENDING_BYTES,
    "streams of answers at a time": grpc_endpoint.MAX_READ_STREAMS,
    "calls at a time, besides append streams": grpc_endpoint.MAX_CALLS,
    "items in a page": entries.MAX_PAGE_SIZE,
    "items in a page, unless asked for": entries.DEFAULT_PAGE_SIZE,
    "entries and batches looked at for a page of a search, which then goes on": find.MAX_SCANNED,
    "nodes of a trace": trace.MAX_NODES,
    "references of a trace": trace.MAX_EDGES,
    "lineage receipt": receipt.MAX_RECEIPT_BYTES,
    "entries in a lineage receipt": receipt.MAX_RECEIPT_ENTRIES,
    "changes of the ledger's key": ledger_keys.MAX_CHANGES,
    "files that an artifact lists": record.MAX_LISTED_FILES,
    "opinion of an attestation": record._MAX_PREDICATE_BYTES,
    "map of the log, which grows": environment.MAX_MAP_BYTES,
    "processes and threads that read the log at a time": environment.MAX_READERS,
    "checkpoint with all its cosignatures": head.MAX_NOTE_BYTES,
    "witnesses of a policy, and logs, and groups of it": witness_policy.MAX_DEFINITIONS,
    "request to a witness": witness_protocol.MAX_REQUEST_BYTES,
    "HTTP connections at a time; more are answered 503": web.MAX_CONNECTIONS,
    "headers of an HTTP request": web.MAX_HEADER_BYTES,
    "time to send an HTTP request, and to take any part of the answer": web.REQUEST_S,
    "time that an HTTP connection may be idle": web.KEEP_ALIVE_S,
    "the same while there are as many connections as there may be": web.PATIENCE_S,
    "file that an audit goes on from (`--since`), some 700,000 chains": state.MAX_STATE_BYTES,
    "time that a process of an audit may take for 65,536 entries": int(workers.TIMEOUT_S),
    "entries of an exported or remote log that an audit takes on": bounds.MAX_SIZE,
    "connections of an audit to a web server, for each process": http_client.MAX_CONNECTIONS,
    "fetched ahead by an audit, for each process, besides a bundle a connection": read_ahead.MAX_HELD_BYTES,
}


def test_the_guide_for_who_emits_works(tmp_path: Path) -> None:
    guide.run(EMITTING, tmp_path, {})


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the guide makes certificates with openssl")
def test_the_guide_for_who_runs_a_ledger_works(tmp_path: Path) -> None:
    # The network of the test is loopback; pip may be absent from an environment that uv made.
    replaced = {"0.0.0.0": "127.0.0.1", "ledger.example.com": "localhost", "pip ": "python -m pip "}
    guide.run(OPERATIONS, tmp_path, replaced)


def test_the_guide_for_witnesses_works(tmp_path: Path) -> None:
    printed = guide.run(WITNESSES, tmp_path, {})
    assert "witnessed: by w" in printed
    assert '"witnesses_required": true' in printed


def test_each_command_in_the_text_exists() -> None:
    from lineage_ledger.cli.app import lineage

    context = click.Context(lineage)
    for text in (OPERATIONS, WITNESSES, EMITTING):
        for name, below in re.findall(r"`lineage ([a-z-]+)(?: ([a-z]+))?", text):
            command = lineage.get_command(context, name)
            assert command is not None, name
            if isinstance(command, click.Group) and below:
                assert below in command.commands, (name, below)


def test_the_options_of_serve_are_those_of_the_command() -> None:
    rows = {row[0].strip("`"): row[1].strip("`") for row in guide.tables(OPERATIONS, "Options of serve")[1:]}
    options = {option.opts[0]: option for option in serve.params if isinstance(option, click.Option)}
    assert set(rows) == set(options)
    for name, option in options.items():
        said = option.to_info_dict()["default"]
        if said is not None and name not in {"--origin", "--head"}:
            assert rows[name] == str(said), name


def test_the_files_are_those_of_a_served_folder(tmp_path: Path) -> None:
    rows = {row[0].strip("`").rstrip("/"): row[1] for row in guide.tables(OPERATIONS, "The data folder")[1:]}
    with RunningServer(tmp_path / "ledger") as server:
        found = {path.relative_to(server.data).as_posix(): path.stat().st_mode for path in server.data.rglob("*")}
    assert server.data.stat().st_mode & 0o777 == found.pop("keys") & 0o777 == 0o700
    files = {name: mode for name, mode in found.items() if not name.endswith(".mdb")}
    assert all(mode & 0o777 == 0o600 for name, mode in found.items() if name not in files)
    assert {name: f"{mode & 0o777:04o}" for name, mode in files.items()} == rows | {
        "verifier.key": f"{0o666 & ~_umask():04o}"
    }


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def test_the_settings_are_those_of_the_code() -> None:
    rows = {row[0].strip("`"): row[1:] for row in guide.tables(OPERATIONS, "Settings")[1:]}
    required, optional, policy = emitter_settings._REQUIRED, emitter_settings._OPTIONAL, emitter_settings._POLICY
    assert set(rows) == command_settings.SHARED | {*required, *optional, *policy, *emitter_settings._OTHERS}
    for name, (variable, command, emitter, default, _) in rows.items():
        assert variable == f"`LINEAGE_{name.upper()}`"
        assert (command == "yes") == (name in command_settings.SHARED), name
        wanted = "required" if name in required else "yes" if name in (*optional, *policy) else "no"
        assert emitter == ("middleware" if name == "commitment_key_file" else wanted), name
        if name in policy:
            assert default == f"`{policy[name]}`", name


def test_the_limits_are_those_of_the_code() -> None:
    rows = {row[0]: int(re.sub(r"[^0-9]", "", row[1])) for row in guide.tables(OPERATIONS, "Limits")[1:]}
    assert rows == LIMITS
    assert entries.MAX_PAGE_SIZE == admin.MAX_PAGE_SIZE
    assert receipts.MAX_FAN_OUT == 16


@pytest.mark.parametrize("package", ["clients/python/lineage_ledger", "ledger/lineage_ledger_server"])
def test_every_module_stands_in_the_architecture(package: str) -> None:
    text = (guide.DOCS / "architecture.md").read_text()
    section = text.split(f"### `{package}/`", 1)[1].split("\n#", 1)[0]
    rooms = {
        re.sub(r"\.(py|c)$|/$", "", name): row
        for row in section.splitlines()
        for name in re.findall(r"`([^`]+)`", row.split("|")[1] if row.startswith("| `") else "")
    }
    root = guide.DOCS.parent / package
    for file in root.rglob("*.py"):
        parts = file.relative_to(root).with_suffix("").parts
        if file.name.startswith("__") or "_pb2" in file.name:
            continue
        assert parts[0] in rooms, f"{file} is in no room"
        assert len(parts) == 1 or f"`{parts[-1]}`" in rooms[parts[0]], f"{file} is not named"
    named = {name for row in rooms.values() for name in re.findall(r"`([a-z_]+)`", row.split("|")[2])}
    known = {path.stem for path in root.rglob("*.py")} | {"grpc", "lmdb", "lineage", "cli", "v1"}
    assert named <= known, named - known


def test_what_the_pages_link_to_is_there() -> None:
    for page in guide.DOCS.glob("*.md"):
        text = page.read_text()
        for target, anchor in re.findall(r"\]\(([^)#:]*)(#[^)]*)?\)", text):
            file = page.parent / target if target else page
            assert file.exists(), (page.name, target)
            if anchor and file.suffix == ".md":
                headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
                slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
                assert anchor[1:] in slugs, (page.name, target, anchor)
