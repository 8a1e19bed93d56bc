"""`lineage serve --http`: a process beside either server, which ends with it and is started again if it dies alone."""

from __future__ import annotations

import http.client
import os
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme
from structlog.testing import capture_logs

from lineage_ledger.formats import packed, strict
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.note import Verifier
from lineage_ledger_server.errors import ProcessStartError
from lineage_ledger_server.serving import child_process
from lineage_ledger_server.serving.http_process import HttpProcess
from lineage_ledger_server.serving.settings import ServerSettings
from tests.support.processes import children_of, eventually, is_alive, needs_proc
from tests.support.rpc import registered
from tests.support.server import RunningServer


def get(url: str, path: str, context: ssl.SSLContext | None = None) -> bytes:
    host = urlsplit(url).netloc
    connection = (
        http.client.HTTPSConnection(host, timeout=30, context=context)
        if url.startswith("https:")
        else http.client.HTTPConnection(host, timeout=30)
    )
    try:
        connection.request("GET", f"/{path}")
        response = connection.getresponse()
        assert response.status == 200
        return response.read()
    finally:
        connection.close()


def size_at(server: RunningServer) -> int:
    return Checkpoint.open(get(server.http_url, "checkpoint"), Verifier.parse(server.verifier_key)).size


def children(pid: int) -> list[int]:
    return children_of(pid, "http_server")


def test_it_follows_the_ledger_that_is_served(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "l", "--http", "127.0.0.1:0") as server:
        assert size_at(server) == 2
        genesis, block = packed.split(get(server.http_url, "tile/entries/000.p/2"))
        assert strict.parse_entry(genesis).genesis.origin == server.origin
        assert strict.parse_entry(block).block.number == 1
        registered(server)
        assert size_at(server) == 4
        assert len(get(server.http_url, "tile/0/000.p/4")) == 128
        assert server.verifier_key in get(server.http_url, "").decode()
        assert server.stop() == 0


def test_beside_a_reader(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "l") as server:
        with RunningServer(tmp_path / "l", "--reader", "--http", "127.0.0.1:0", log_file=tmp_path / "r") as reader:
            registered(server)
            assert size_at(reader) == 4
        assert size_of_log(tmp_path / "r") == 0


def size_of_log(path: Path) -> int:
    return sum("error" in line for line in path.read_text().splitlines())


@needs_proc
def test_it_ends_with_a_server_that_is_killed(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "l", "--http", "127.0.0.1:0") as server:
        (child,) = children(server.process.pid)
        server.kill()
        eventually(lambda: not is_alive(child))


@needs_proc
def test_it_ends_with_a_server_that_stops(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "l", "--http", "127.0.0.1:0") as server:
        (child,) = children(server.process.pid)
        assert server.stop() == 0
        assert not is_alive(child)
        with pytest.raises(ConnectionError):
            get(server.http_url, "checkpoint")


def kill_and_ask(server: RunningServer, number: signal.Signals) -> None:
    (child,) = children(server.process.pid)
    os.kill(child, number)
    eventually(lambda: not is_alive(child))
    # Whoever connects meanwhile waits for the next one.
    assert size_at(server) == 2
    assert children(server.process.pid) != [child]


@needs_proc
def test_it_is_started_again_at_the_same_address(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "l", "--http", "127.0.0.1:0") as server:
        kill_and_ask(server, signal.SIGKILL)
        kill_and_ask(server, signal.SIGTERM)
        assert server.stop() == 0
    assert "started again" in (tmp_path / "l.log").read_text()


@needs_proc
def test_ctrl_c_is_for_the_server(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "l", "--http", "127.0.0.1:0") as server:
        (child,) = children(server.process.pid)
        os.kill(child, signal.SIGINT)
        assert size_at(server) == 2
        assert children(server.process.pid) == [child]


@needs_proc
def test_one_that_keeps_crashing_is_started_less_and_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_process, "_MIN_BACKOFF_S", 0.05)
    with RunningServer(tmp_path / "l", "--http", "127.0.0.1:0") as server:
        server.stop()
    process = HttpProcess("127.0.0.1:0", ServerSettings(tmp_path / "l"), "console")
    process.start()
    try:
        (tmp_path / "l" / "verifier.key").rename(tmp_path / "away")  # each one finds no ledger, and ends
        with capture_logs() as events:
            os.kill(children(os.getpid())[0], signal.SIGKILL)
            eventually(lambda: len(events) >= 3)
            (tmp_path / "away").rename(tmp_path / "l" / "verifier.key")
            assert get(process.url, "healthz").startswith(b"ok")
        assert [event["status"] for event in events[:3]] == [-signal.SIGKILL, 1, 1]
        assert [event["after_s"] for event in events[:3]] == [0.05, 0.1, 0.2]
    finally:
        process.stop()
    assert children(os.getpid()) == []


@needs_proc
def test_stopping_while_it_is_down_starts_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_process, "_MIN_BACKOFF_S", 30.0)
    with RunningServer(tmp_path / "l") as server:
        server.stop()
    process = HttpProcess("127.0.0.1:0", ServerSettings(tmp_path / "l"), "console")
    process.start()
    (child,) = children(os.getpid())
    os.kill(child, signal.SIGKILL)
    eventually(lambda: not is_alive(child))
    started_s = time.monotonic()
    process.stop()
    assert time.monotonic() - started_s < 5
    assert children(os.getpid()) == []


@needs_proc
def test_the_ledger_does_not_wait_for_it_to_end(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "l", "--http", "127.0.0.1:0") as server:
        (child,) = children(server.process.pid)
        os.kill(child, signal.SIGSTOP)
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: not (tmp_path / "l" / "admin.sock").exists())
        assert server.process.poll() is None
        os.kill(child, signal.SIGCONT)
        assert server.process.wait(20) == 0


def test_over_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "s.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "s.key"))
    tls = ["--tls-cert", tmp_path / "s.pem", "--tls-key", tmp_path / "s.key", "--client-ca", tmp_path / "ca.pem"]
    with RunningServer(tmp_path / "l", *map(str, tls), "--http", "127.0.0.1:0") as server:
        assert server.http_url.startswith("https://127.0.0.1:")
        # No certificate of the client is asked for.
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        assert get(server.http_url, "checkpoint", context).startswith(server.origin.encode())
        with pytest.raises(ssl.SSLError):
            get(server.http_url, "checkpoint", ssl.create_default_context())
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            get(server.http_url.replace("https", "http"), "checkpoint")


def test_an_address_that_cannot_be_had_leaves_no_ledger_behind(tmp_path: Path) -> None:
    """Which ones cannot is tested with `Listener`."""
    command = [
        sys.executable,
        "-m",
        "lineage_ledger.cli",
        "serve",
        "--data",
        str(tmp_path / "l"),
        "--http",
        "0.0.0.0:0",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 1
    assert "0.0.0.0:0" in done.stderr
    assert not (tmp_path / "l").exists()


def test_a_process_that_cannot_start_is_said(tmp_path: Path) -> None:
    process = HttpProcess("127.0.0.1:0", ServerSettings(tmp_path / "nothing"), "console")
    with pytest.raises(ProcessStartError, match="did not start"):
        process.start()
