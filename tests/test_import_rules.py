"""The arrows of docs/architecture.md, held over every module of both packages.

Rooms are the first path component below a package. What counts is each import statement wherever it stands: at the
top, in a function, or under TYPE_CHECKING, because each of them makes one room know another.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
CLIENT = "lineage_ledger"
SERVER = "lineage_ledger_server"
PACKAGE_PATHS = {CLIENT: ROOT / "clients/python" / CLIENT, SERVER: ROOT / "ledger" / SERVER}

# Client: what each room may import, as the table says it; what those may import is allowed with them.
CLIENT_ARROWS: Mapping[str, tuple[str, ...]] = {
    "_version": (),
    "errors": (),
    "v1": (),
    "kernel": ("errors",),
    "formats": ("kernel", "v1"),
    "files": ("formats",),
    "settings_file": (),
    "web": ("_version",),
    "trace": ("formats",),
    "completeness": ("formats",),
    "receipts": ("trace", "completeness"),
    "history": ("formats",),
    "checkpoint_file": ("formats",),
    "audit": ("trace", "completeness"),
    "rpc": ("formats",),
    "sources": ("rpc", "web"),
    "monitor": ("audit", "sources", "web", "history", "checkpoint_file"),
    "client": ("rpc", "trace", "receipts", "history", "checkpoint_file"),
    "emitter": ("client", "settings_file"),
    "middleware": ("emitter",),
    "cli": ("middleware", "audit", "sources", "monitor", "files", "_version"),
}
# Rooms that are more than one module.
CLIENT_ROOM_OF_MODULE = {
    "aio": "client",
    "agreement": "client",
    "answers": "client",
    "operations": "client",
    "proven_entries": "receipts",
    "chain_receipts": "receipts",
    "_kernel": "kernel",
    "_emit_python": "kernel",
    "_kernel_checks": "kernel",
    "_kernel_emit": "kernel",
    "_kernel_python": "kernel",
    "emit_kernel": "kernel",
}
SERVER_ROOM_OF_MODULE: dict[str, str] = {}
# Server: a room may import those before it.
SERVER_ORDER = (
    "errors",
    "logs",
    "data_dir",
    "head",
    "publication",
    "store",
    "reading",
    "static",
    "witness",
    "sequencer",
    "witnessing",
    "index",
    "ledger",
    "services",
    "audit",
    "serving",
    "demo",
    "cli",
)

# Formats are pure: bytes in, bytes out. Only `keys` touches files, because it owns those of keys.
IMPURE = frozenset(
    {"asyncio", "fcntl", "http", "logging", "mmap", "multiprocessing", "os", "pathlib", "random", "select", "selectors"}
    | {"shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time", "urllib"}
)
IMPURE_EXEMPT = f"{CLIENT}.formats.keys"

# Rooms of the server that serve HTTP; the demo's model server is no part of it.
WEB_ROOMS: Mapping[str, frozenset[str]] = {
    "starlette": frozenset({"static", "witness", "demo"}),
    "uvicorn": frozenset({"serving", "demo"}),
}

CLIENT_THIRD_PARTY = frozenset({"grpc", "google.protobuf", "nacl"})
MONITOR_THIRD_PARTY = CLIENT_THIRD_PARTY | {"prometheus_client"}
CLI_THIRD_PARTY = CLIENT_THIRD_PARTY | {"click", "rich"}
WEB_THIRD_PARTY = frozenset({"urllib3"})


class Import(NamedTuple):
    """`importer` is a dotted module, `target` the dotted name it asks for, absolute."""

    importer: str
    target: str
    line: int

    def refuse(self, reason: str) -> str:
        return f"{self.importer}:{self.line} imports {self.target}: {reason}"


def imports_of(module: str, source: str, *, is_package: bool = False) -> Iterator[Import]:
    """Every import statement in a module; `from a import b` asks for a.b, because b may be a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                here = parts[: len(parts) - node.level + is_package]
                base = ".".join([*here, *filter(None, [node.module])])
            for alias in node.names:
                yield Import(module, f"{base}.{alias.name}", node.lineno)


def package_of(name: str) -> str:
    return name.partition(".")[0]


def room_of(name: str) -> str:
    """The room of a module; the package's own `__init__` is no room and gives ''."""
    package, _, rest = name.partition(".")
    first = rest.partition(".")[0]
    if package == CLIENT:
        first = CLIENT_ROOM_OF_MODULE.get(first, first)
        return first if first in CLIENT_ARROWS else ""
    first = SERVER_ROOM_OF_MODULE.get(first, first)
    return first if first in SERVER_ORDER else ""


def reachable(room: str) -> frozenset[str]:
    """The rooms of the client that `room` may import: along the arrows, itself and errors included."""
    return frozenset({room, "errors"}).union(*map(reachable, CLIENT_ARROWS[room]))


def judge_client(found: Import) -> Iterator[str]:
    room, generated_stub = room_of(found.importer), found.importer.endswith("_pb2_grpc")
    target = package_of(found.target)
    if target == SERVER:
        yield found.refuse("the client never imports the server")
    elif target == CLIENT:
        wanted = room_of(found.target)
        if room and not wanted:
            yield found.refuse("ask for the room it is in, not for the package's front door")
        elif room and wanted not in reachable(room):
            yield found.refuse(f"no arrow leads from {room} to {wanted}")
    elif target == "grpc":
        if room != "rpc" and not generated_stub:
            yield found.refuse("grpc is imported in lineage_ledger.rpc only")
    elif target not in sys.stdlib_module_names and target != "_typeshed":  # that one exists for type checkers alone
        allowed = {"cli": CLI_THIRD_PARTY, "web": WEB_THIRD_PARTY, "monitor": MONITOR_THIRD_PARTY}.get(
            room, CLIENT_THIRD_PARTY
        )
        if not any(found.target == name or found.target.startswith(f"{name}.") for name in allowed):
            yield found.refuse("not among the few packages that the client needs")
    if room == "formats" and target in IMPURE and found.importer != IMPURE_EXEMPT:
        yield found.refuse("formats are pure and do no I/O")


def judge_server(found: Import) -> Iterator[str]:
    room, target = room_of(found.importer), package_of(found.target)
    if target == "lmdb" and room != "store":
        yield found.refuse("lmdb is imported in lineage_ledger_server.store only")
    if target in WEB_ROOMS and room not in WEB_ROOMS[target]:
        yield found.refuse(f"{target} is imported in {', '.join(sorted(WEB_ROOMS[target]))} only")
    if target == SERVER:
        wanted = room_of(found.target)
        if room and not wanted:
            yield found.refuse("ask for the room it is in, not for the package's front door")
        elif room and SERVER_ORDER.index(wanted) > SERVER_ORDER.index(room):
            yield found.refuse(f"{wanted} stands above {room}")


def violations(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """What is wrong with the imports of one module, in words; empty if nothing."""
    judge = judge_client if package_of(module) == CLIENT else judge_server
    return [refusal for found in imports_of(module, source, is_package=is_package) for refusal in judge(found)]


def modules() -> Iterator[tuple[str, Path]]:
    for path in PACKAGE_PATHS.values():
        for file in sorted(path.rglob("*.py")):
            parts = file.relative_to(path.parent).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), file


def test_no_import_goes_against_the_arrows() -> None:
    found = [
        refusal
        for module, file in modules()
        for refusal in violations(module, file.read_text(encoding="utf-8"), is_package=file.name == "__init__.py")
    ]
    assert not found, "\n".join(found)


def test_every_module_is_in_a_room() -> None:
    homeless = [module for module, _ in modules() if "." in module and not room_of(module)]
    assert not homeless, f"give {homeless} a room here and in docs/architecture.md"


@pytest.mark.parametrize("package", PACKAGE_PATHS)
def test_the_rooms_of_the_documentation_are_the_rooms_here(package: str) -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    section = text.split(f"/{package}/`", 1)[1].split("\n#", 1)[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    named = [re.sub(r"\.(py|c)$|/$", "", name) for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
    assert named
    assert [name for name in named if not room_of(f"{package}.{name}")] == []


@pytest.mark.parametrize(
    ("module", "source", "reason"),
    [
        (f"{CLIENT}.formats.merkle", "import os", "do no I/O"),
        (f"{CLIENT}.formats.seal", "from pathlib import Path", "do no I/O"),
        (f"{CLIENT}.formats.seal", "import urllib.request", "do no I/O"),
        (f"{CLIENT}.formats.seal", "def f():\n    import socket", "do no I/O"),
        (f"{CLIENT}.formats.seal", "from ..rpc import channels", "no arrow leads from formats to rpc"),
        (f"{CLIENT}.formats.seal", "from lineage_ledger import client", "no arrow leads from formats to client"),
        (f"{CLIENT}.formats.seal", "from lineage_ledger import Emitter", "front door"),
        (f"{CLIENT}.kernel", "import lineage_ledger.formats.merkle", "no arrow leads from kernel to formats"),
        (f"{CLIENT}._kernel_python", "from lineage_ledger.v1 import entry_pb2", "no arrow leads from kernel to v1"),
        (f"{CLIENT}.trace", "from lineage_ledger.audit import walk", "no arrow leads from trace to audit"),
        (f"{CLIENT}.emitter.sender", "import grpc", "lineage_ledger.rpc only"),
        (f"{CLIENT}.aio", "import grpc.aio", "lineage_ledger.rpc only"),
        (CLIENT, "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import grpc", "lineage_ledger.rpc only"),
        (f"{CLIENT}.cli.show", "from lineage_ledger_server.store import LogStore", "never imports the server"),
        (f"{CLIENT}.client", "import rich.table", "few packages"),
        (f"{CLIENT}.emitter.ring", "import numpy as np", "few packages"),
        (f"{CLIENT}.v1.entry_pb2", "from google.api import http_pb2", "few packages"),
        (f"{CLIENT}.cli.show", "import structlog", "few packages"),
        (f"{CLIENT}.cli.show", "import urllib3", "few packages"),
        (f"{SERVER}.services.append", "import lmdb", "store only"),
        (f"{SERVER}.index.writer", "from lmdb import Environment", "store only"),
        (f"{SERVER}.store.log_store", "from lineage_ledger_server.sequencer import group", "stands above store"),
        (f"{SERVER}.sequencer.group", "from ..services import append", "stands above sequencer"),
        (f"{SERVER}.services.append", "from starlette.responses import Response", "static, witness only"),
        (f"{SERVER}.static.http_app", "import uvicorn", "serving only"),
    ],
)
def test_a_wrong_import_is_caught(module: str, source: str, reason: str) -> None:
    caught = violations(module, source)
    assert len(caught) == 1
    assert reason in caught[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (f"{CLIENT}.formats.keys", "import os\nfrom nacl import bindings"),
        (f"{CLIENT}.formats.seal", "from . import merkle\nfrom ..errors import SealError"),
        (f"{CLIENT}.v1.append_pb2_grpc", "import grpc\nfrom lineage_ledger.v1 import append_pb2"),
        (f"{CLIENT}.rpc.channels", "import grpc.aio\nfrom google.protobuf.message import Message"),
        (
            f"{CLIENT}.emitter.sender",
            "import time\nfrom lineage_ledger import kernel\nfrom lineage_ledger.rpc import x",
        ),
        (f"{CLIENT}.cli.show", "import click\nfrom rich.tree import Tree\nfrom lineage_ledger.audit import audit"),
        (f"{SERVER}.store.index_store", "import lmdb\nfrom lineage_ledger.errors import LineageError"),
        (f"{SERVER}.cli.serve", "from lineage_ledger_server.services import append\nfrom lineage_ledger import cli"),
    ],
)
def test_a_right_import_is_let_through(module: str, source: str) -> None:
    assert violations(module, source) == []


def test_a_relative_import_in_a_package_counts_from_the_package() -> None:
    source = "from .channels import open_channel\nfrom ..emitter import ring"
    assert [found.target for found in imports_of(f"{CLIENT}.rpc", source, is_package=True)] == [
        f"{CLIENT}.rpc.channels.open_channel",
        f"{CLIENT}.emitter.ring",
    ]
