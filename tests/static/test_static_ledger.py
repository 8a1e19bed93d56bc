"""Exporting and serving a real ledger while it is written to: what others audit, and a change of its key."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.static.export import Exported, export
from lineage_ledger_server.static.published import opened
from tests.keys.rotating import rotate
from tests.static.test_export import files_in
from tests.support.rpc import registered
from tests.support.server import RunningServer


def exported(server: RunningServer, out: Path) -> Exported:
    with opened(DataDir(server.data)) as log:
        return export(log, out)


def audit(*options: str | Path) -> int:
    command = [sys.executable, "-m", "lineage_ledger.cli", "audit", "--json", *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["findings"] == [], done.stdout
    return done.returncode


def test_what_is_exported_and_served_passes_an_audit(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with RunningServer(tmp_path / "l", "--http", "127.0.0.1:0") as server:
        for _ in range(2):
            registered(server)
            assert exported(server, out).files_written
            assert not exported(server, out).files_written
            assert audit("--folder", out, "--key", server.verifier_key) == 0
        for name in files_in(out):
            with urllib.request.urlopen(f"{server.http_url}/{name}", timeout=10) as answer:
                assert answer.read() == (out / name).read_bytes(), name
        assert audit("--url", server.http_url, "--key", server.verifier_key) == 0


def test_a_changed_key_is_no_other_ledger(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with RunningServer(tmp_path / "l", "--http", "127.0.0.1:0") as server:
        old_size = exported(server, out).size
        new = rotate(server.data)["verifier_key"]
        assert new != server.verifier_key
        done = exported(server, out)
        assert done.old_size == old_size < done.size
        assert audit("--folder", out, "--key", server.verifier_key) == audit("--folder", out, "--key", new) == 0
        for path in ("", "healthz", "checkpoint"):
            with urllib.request.urlopen(f"{server.http_url}/{path}", timeout=10) as answer:
                text = answer.read().decode()
            assert (new in text) == (path == "")
