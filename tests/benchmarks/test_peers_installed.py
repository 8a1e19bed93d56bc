"""Peers that PyPI and this machine have, for real: they count right, and sync before they acknowledge (strace)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.peers import decision_provenance, environments, handle, mlflow, nats, postgresql, pymerkle
from benchmarks.peers.contract import NotRunError, Peer
from benchmarks.peers.entries import write_entries

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

PEERS = (pymerkle.PEER, decision_provenance.PEER, mlflow.PEER, nats.PEER, postgresql.PEER)
_SYNC = re.compile(r" (?:fsync|fdatasync)\(")
_ENTRIES = 1 << 17


@pytest.fixture
def root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="peers-") as name:
        Path(name).chmod(0o711)  # PostgreSQL runs as another user
        yield Path(name)


def prepared(peer: Peer) -> Path:
    """The peer's environment, installed where `python -m benchmarks.peers` has it."""
    try:
        return environments.prepare(peer)
    except NotRunError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("peer", PEERS, ids=[peer.name for peer in PEERS])
def test_a_peer_keeps_what_it_acknowledges_and_syncs_before_that(peer: Peer, root: Path) -> None:
    environment = prepared(peer)
    traced = shutil.which("strace")
    entry_bytes = write_entries(root / "entries", _ENTRIES)
    folder, trace = root / peer.name, root / "trace"
    folder.mkdir()
    under = (traced, "-f", "-qq", "-o", trace, "-e", "trace=fsync,fdatasync") if traced else ()
    with handle.worker(peer, environment, folder, root / "entries", entry_bytes, under=under) as worker:
        try:
            worker.opened()
        except NotRunError as error:
            pytest.skip(str(error))
        for case in peer.cases:
            before = _syncs(trace) if traced else 0
            ran = worker.run(case, 0.1)
            assert ran.entries and ran.entries % case.batch == 0
            # Callers that come together may share a sync; one alone has one for itself.
            if traced and case.callers == 1:
                assert _syncs(trace) - before >= ran.entries // case.batch, f"{case.name}: an answer without a sync"
        worker.check()


def _syncs(trace: Path) -> int:
    return len(_SYNC.findall(trace.read_text()))


def test_the_command_measures_what_it_is_asked_for() -> None:
    prepared(decision_provenance.PEER)
    only = ("--only", "decision-provenance", "--only", "lineage-ledger")
    command = [sys.executable, "-m", "benchmarks.peers", "--quick", "--json", *only]
    done = subprocess.run(command, cwd=environments.ROOT, capture_output=True, text=True, check=True)
    document = json.loads(done.stdout)
    assert document["benchmark"] == "peers" and document["not_run"] == []
    rates = [result for result in document["results"] if result["unit"] == "entries/s"]
    assert {result["params"]["peer"] for result in rates} == {"decision-provenance", "lineage-ledger"}
    for result in rates:
        assert result["runs"] == 3 and 0 < result["spread"][0] <= result["value"] <= result["spread"][1]
        assert result["params"]["durability"].startswith("synced")
        assert result["params"]["entry_bytes"] == 104
