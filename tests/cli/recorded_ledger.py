"""A real ledger with a lineage that was recorded by the command itself, and predictions by an emitter."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from lineage_ledger.cli.app import lineage
from lineage_ledger.emitter import Emitter
from lineage_ledger.formats.prediction import PredictionId
from tests.support.server import RunningServer

HOSTILE = "a\x1b[31mb\nc\td\u202ee\x9bf\u2066g\U000e0041h"
"""Colour, line end, tab, bidirectional overrides, a C1 control sequence, an invisible tag."""
HARMLESS = "a\\x1b[31mb\\nc".replace("\\n", "\\x0a") + "\\x09d\\u202ee\\x9bf\\u2066g\\U000e0041h"
DIGEST = "sha256:" + hashlib.sha256(b"never recorded").hexdigest()


def run(*arguments: object, env: dict[str, str | None] | None = None) -> Result:
    """Run `lineage` in this process; not on a terminal."""
    return CliRunner(env={"LINEAGE_CONFIG": None, **(env or {})}).invoke(lineage, [str(one) for one in arguments])


def run_json(*arguments: object) -> Any:
    """The one JSON document that a successful command prints."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def run_on_terminal(*arguments: object, columns: int = 80, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run `lineage` on a terminal of its own: exit status, and all that it wrote there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "lineage_ledger.cli", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "COLUMNS": str(columns),
            "TERM": "xterm-256color",
            **(env or {}),
        },
    )
    os.close(theirs)
    written, deadline = b"", time.monotonic() + 30
    while time.monotonic() < deadline:
        if not select.select([ours], [], [], 0.1)[0]:
            continue
        try:
            chunk = os.read(ours, 65_536)
        except OSError:  # Linux's way to say that the other end is closed.
            break
        if not chunk:
            break
        written += chunk
    os.close(ours)
    return process.wait(10), written.decode()


@dataclass
class RecordedLedger:
    server: RunningServer
    folder: Path
    recorded: dict[str, dict[str, Any]]
    """What `record` printed, by name."""
    predictions: list[PredictionId]

    @property
    def data(self) -> tuple[str, str]:
        """The options that say where the ledger is."""
        return "--data", str(self.server.data)

    def index(self, name: str) -> int:
        found: int = self.recorded[name]["index"]
        return found


def record_ledger(folder: Path) -> RecordedLedger:
    """Start a server and record everything; whoever calls this stops the server."""
    server = RunningServer(folder / "ledger", "--origin", "example.com/ledger/test")
    ledger = RecordedLedger(server, folder, {}, [])
    key = folder / "producer.key"
    run_json("keygen", key, "--name", "trainer")
    run_json("producers", "add", *ledger.data, "--key-file", key, "--name", HOSTILE)
    (folder / "model").mkdir()
    (folder / "model" / "weights.bin").write_bytes(b"weights")
    (folder / "model" / "config.json").write_bytes(b"{}")
    (folder / "train.csv").write_bytes(b"1,2\n3,4\n")
    (folder / "review.json").write_text(
        '{\n  "verdict": "größer",\n  "note": "\u202eevil  spaced"\n}\n', encoding="utf-8"
    )

    def record(name: str, *arguments: object) -> dict[str, Any]:
        made = run_json("record", *arguments, *ledger.data, "--key-file", key)
        (ledger.recorded[name],) = made["recorded"]
        return ledger.recorded[name]

    dataset = record("dataset", "artifact", "--kind", "dataset", folder / "train.csv", "--name", HOSTILE)
    model = record("model", "artifact", "--kind", "model", folder / "model", "--version", "7")
    code = record("code", "artifact", "--kind", "code", "--git", make_checkout(folder / "code"))
    record(
        *("run", "run", "--kind", "training", "--name", "fit", "--command", "python fit.py"),
        *("--input", f"{dataset['digest']}:{HOSTILE}", "--input", DIGEST, "--output", f"{model['digest']}:model"),
        *("--parameter", f"depth={HOSTILE}", "--metric", "auc=0.91", "--code", code["digest"]),
        *("--start", "2026-03-01T12:00:00Z", "--end", "2026-03-01T13:30:00+01:00"),
    )
    record(
        *("attestation", "attestation", "--subject", model["digest"], "--type", "https://example.com/review/v1"),
        *("--attester", "[bold]Risk[/bold]", "--sign-with", key, "--predicate", folder / "review.json"),
    )
    deployment = record(
        *("deployment", "deployment", "--name", "prod", "--model", model["digest"], "--code", code["digest"]),
        *("--server-software", "uvicorn 0.30", "--valid-from", "2026-03-02"),
    )
    with Emitter(server.address, ledger=server.verifier_key, key=key) as emitter:
        binding = emitter.bind(bytes.fromhex(deployment["leaf_hash"]))
        for number in range(300):
            commitment = hashlib.sha256(b"%d" % number).digest()
            request_id = b"req-%d" % number if number else HOSTILE.encode()
            ledger.predictions.append(binding.emit(commitment, commitment, request_id=request_id, duration_us=number))
        assert emitter.flush()
    return ledger


def make_checkout(folder: Path) -> Path:
    """A git checkout with one commit, one file changed since, one link and one untracked file."""
    folder.mkdir()
    (folder / "fit.py").write_text("print(1)\n")
    (folder / "link").symlink_to("fit.py")
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "add", ".")
    git(folder, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "--message", "first")
    git(folder, "remote", "add", "origin", "https://user:secret@example.com/code.git")
    (folder / "fit.py").write_text("print(2)\n")
    (folder / "notes.txt").write_text("not tracked\n")
    return folder


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()
