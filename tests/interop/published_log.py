"""A ledger of an exact size as the world sees it: an exported folder, an http URL, older checkpoints, tlog-proofs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.interop.grown_ledger import SMALLEST, GrownLedger, make_indexes, publish_genesis_alone
from tests.support.server import RunningServer


def tools() -> Path:
    """Where `make interop` puts the checkers."""
    folder = os.environ.get("LINEAGE_INTEROP")
    assert folder, "the checkers that others wrote are not here: run `make interop`, which brings them"
    return Path(folder)


@dataclass(frozen=True)
class PublishedLog:
    """`older` are files of checkpoints by their sizes; `proofs` tlog-proofs, each with its entry in FILE.entry."""

    size: int
    folder: Path
    server: RunningServer
    older: dict[int, Path]
    proofs: list[Path]

    @property
    def verifier_key(self) -> str:
        return self.server.verifier_key

    def at(self, where: str) -> str:
        """The log's location for a checker: "folder" or "http"."""
        return str(self.folder) if where == "folder" else self.server.http_url


def publish(root: Path, size: int) -> PublishedLog:
    """Make, export and serve a ledger of exactly `size` entries below `root`.

    It is exported whenever it has reached one of its older sizes too, so that what is checked was added to.
    """
    data, folder, older = root / "ledger", root / "export", {}
    ledger = GrownLedger(data)
    for old_size in () if size == 1 else (SMALLEST, 2 * size // 3):
        ledger.grow_to(old_size)
        older[old_size] = root / f"checkpoint-{old_size}"
        older[old_size].write_bytes(ledger.checkpoint)
        run_lineage("export", "--data", str(data), str(folder))
    if size > 1:
        ledger.grow_to(size)
    ledger.close()
    if size == 1:
        publish_genesis_alone(data)
    make_indexes(data)
    run_lineage("export", "--data", str(data), str(folder))
    # A server that may write would add a block when it has been idle long enough.
    server = RunningServer(data, "--reader", "--http", "127.0.0.1:0")
    return PublishedLog(size, folder, server, older, _proofs(server, root, sorted({size // 3, size - 1})))


def _proofs(server: RunningServer, root: Path, indexes: list[int]) -> list[Path]:
    """As `lineage receipt INDEX` writes them."""
    files = []
    for index in indexes:
        file = root / f"{index}.tlog-proof"
        access = ("--server", server.address, "--verifier-key", server.verifier_key)
        run_lineage("receipt", str(index), "-o", str(file), *access)
        files.append(file)
    return files


def run_lineage(*arguments: str) -> str:
    """The command, in a process of its own; its output."""
    command = str(Path(sys.executable).with_name("lineage"))
    return subprocess.run([command, *arguments], check=True, capture_output=True, text=True).stdout


def check_with_go(location: str, verifier_key: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Exit status 0 if all checks, 1 if something does not."""
    command = [str(tools() / "checker"), "-log", location, "-vkey", verifier_key, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def check_with_scales(location: str, verifier_key: str, *older: Path) -> subprocess.CompletedProcess[str]:
    """Samples 1,000 entries."""
    script = Path(__file__).with_name("scales.py")
    command = [str(tools() / "tlog-scales/bin/python"), str(script), location, verifier_key, "1000", *map(str, older)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def passed(result: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What a checker says it has checked."""
    assert result.returncode == 0, result.stderr
    said: dict[str, Any] = json.loads(result.stdout)
    return said
