"""`lineage audit` of a ledger that a real server serves: over HTTP and gRPC, while it grows, and with stored damage."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from lineage_ledger.audit import audit
from lineage_ledger.emitter import Emitter
from lineage_ledger.errors import LineageError
from lineage_ledger.formats.note import Verifier
from lineage_ledger.rpc.endpoint import Endpoint
from lineage_ledger.sources.http import open_url
from lineage_ledger.sources.rpc import RpcSource
from tests.audit import stored_ledger
from tests.audit.stored_ledger import StoredLedger
from tests.cli.recorded_ledger import run
from tests.support.server import RunningServer

SAME = ("counts", "size", "origin", "exit_status", "findings", "failures")


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> StoredLedger:
    return stored_ledger.make(tmp_path_factory.mktemp("served") / "ledger")


@pytest.fixture(scope="module")
def server(ledger: StoredLedger, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    copy = ledger.copy(tmp_path_factory.mktemp("server") / "ledger")
    with RunningServer(copy.data_dir.root, "--http", "127.0.0.1:0") as running:
        yield running


def audited(server: RunningServer, *options: object) -> Result:
    return run("audit", *options, "--key", server.verifier_key, "--timeout-s", 5)


def document(result: Result) -> Any:
    return json.loads(result.stdout)


def test_all_four_ways_say_the_same(server: RunningServer, tmp_path: Path) -> None:
    public, kept = tmp_path / "public", tmp_path / "kept"
    assert run("export", "--data", server.data, public).exit_code == 0
    shutil.copy(public / "checkpoint", kept)
    ways = {
        "data": ("--data", server.data),
        "folder": ("--folder", public),
        "url": ("--url", server.http_url),
        "server": ("--server", server.address),
    }
    said = {name: document(audited(server, *way, "--checkpoint", kept, "--json")) for name, way in ways.items()}
    for name, report in said.items():
        assert report["exit_status"] == 0, report
        assert report["source"] == f"{name} {ways[name][1]}"
        assert report["covered"]["tiles"] == (name != "server")
        assert report["covered"]["rows"] == report["covered"]["indexes"] == (name == "data")
    # The server writes a block a minute; the same checkpoint was there for all but by chance.
    sizes = {report["size"] for report in said.values()}
    if len(sizes) == 1:
        assert len({json.dumps([report[name] for name in SAME]) for report in said.values()}) == 1


def test_people_are_told_what_was_audited_and_what_was_not(server: RunningServer) -> None:
    text = audited(server, "--server", server.address).stdout
    assert f"server {server.address}" in text
    assert "not checked: stored hashes" in text
    assert "not checked: truncation" in text
    assert "stored hashes, rows" in audited(server, "--data", server.data).stdout


def test_an_audit_goes_on_from_where_the_last_one_ended(server: RunningServer, tmp_path: Path) -> None:
    kept = tmp_path / "state"
    first = document(audited(server, "--url", server.http_url, "--keep", kept, "--json"))
    second = document(audited(server, "--server", server.address, "--since", kept, "--json"))
    assert (first["exit_status"], second["exit_status"]) == (0, 0)
    assert second["since"] == second["covered"]["entries_from"] == first["size"]
    kept.write_bytes(kept.read_bytes()[:-1])
    assert audited(server, "--server", server.address, "--since", kept).exit_code == 2


@pytest.mark.parametrize("processes", [1, 2])
def test_a_ledger_that_grows_meanwhile_passes_at_the_size_it_had(tmp_path: Path, processes: int) -> None:
    key = tmp_path / "producer.key"
    with RunningServer(tmp_path / "ledger", "--http", "127.0.0.1:0") as server:
        run("keygen", key, "--name", "producer")
        assert run("producers", "add", "--data", server.data, "--key-file", key, "--name", "p").exit_code == 0
        verifier, sizes = Verifier.parse(server.verifier_key), []
        with Emitter(server.address, ledger=server.verifier_key, key=key) as emitter:
            binding = emitter.bind(bytes(32))

            def emit(count: int) -> None:
                for number in range(count):
                    binding.emit(number.to_bytes(32, "big"), bytes(32))
                assert emitter.flush()

            for place in range(4):
                emit(700)
                is_rpc = place % 2
                source = RpcSource(Endpoint(server.address)) if is_rpc else open_url(server.http_url)
                emit(300)  # A bundle that was partial at the source's size is now full.
                report = audit(source, verifier, source.note, processes=processes)
                source.close()
                assert (report.exit_status, report.size, report.unsigned) == (0, source.size, 0), report
                sizes.append(report.size)
        assert sizes == sorted(set(sizes))


def damaged(ledger: StoredLedger, root: Path) -> RunningServer:
    """A server over a copy in which a bit of an entry in bundle 3 was flipped."""
    copy = ledger.copy(root)
    value = [value for value in stored_ledger.values(copy) if value.kind == "log/bundles"][3]
    stored_ledger.write(copy, value, stored_ledger.flipped(value.content, 8 * 15_000))
    return RunningServer(root, "--http", "127.0.0.1:0")


def test_damage_behind_a_server_is_found_through_it(ledger: StoredLedger, tmp_path: Path) -> None:
    """The server does not serve what does not hash to its tree, and says so: that bundle alone is missing."""
    with damaged(ledger, tmp_path / "copy") as server:
        by_rpc = document(audited(server, "--server", server.address, "--json"))
        by_url = document(audited(server, "--url", server.http_url, "--json"))
    assert (by_rpc["exit_status"], by_rpc["failures"]) == (1, [])
    found = [(finding["kind"], finding["place"]) for finding in by_rpc["findings"]]
    # Without the bundle, and with no hash of it stored elsewhere, the root cannot be right either.
    assert found == [("bundle_missing", "bundle 3"), ("root", "checkpoint")]
    assert by_url["exit_status"] != 0


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is away is tried anew at once."""
    monkeypatch.setattr("lineage_ledger.web._BACKOFF_FIRST_S", 0.001)
    monkeypatch.setattr("lineage_ledger.sources.rpc._WAIT_FIRST_S", 0.001)


@pytest.mark.usefixtures("impatient")
def test_a_server_that_is_away_is_no_finding_and_no_pass(server: RunningServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for way in (("--url", f"http://127.0.0.1:{port}"), ("--server", f"127.0.0.1:{port}")):
        report = document(audited(server, *way, "--json"))
        assert (report["exit_status"], report["findings"]) == (2, [])
        assert str(port) in report["failures"][0]


def wait_until_gone(port: int) -> None:
    """The process that serves HTTP notices a moment later that the server ended."""
    with suppress(ConnectionRefusedError):
        while True:
            socket.create_connection(("127.0.0.1", port)).close()
            time.sleep(0.02)


@pytest.mark.usefixtures("impatient")
def test_a_server_that_goes_away_meanwhile_is_no_finding_and_no_pass(ledger: StoredLedger, tmp_path: Path) -> None:
    copy = ledger.copy(tmp_path / "copy")
    with RunningServer(copy.data_dir.root, "--http", "127.0.0.1:0") as server:
        sources = open_url(server.http_url, timeout_s=1), RpcSource(Endpoint(server.address, timeout_s=1))
        server.stop()  # killed, it would leave its HTTP process for as long as that takes to notice
    for source in sources:
        report = audit(source, copy.verifier, processes=1)
        source.close()
        assert (report.exit_status, report.findings) == (2, [])
        assert "ConnectionError" in report.failures[0]


def test_the_key_of_another_ledger_is_never_a_pass(server: RunningServer, tmp_path: Path) -> None:
    other = stored_ledger.make(tmp_path / "other", batches=1)
    for way in (("--url", server.http_url), ("--server", server.address)):
        result = run("audit", *way, "--key", other.verifier)
        assert result.exit_code == 1
        assert "ledger_key" in result.stdout


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--url", "http://127.0.0.1:1", "--server", "127.0.0.1:1"),
        ("--url", "http://127.0.0.1:1", "--no-index"),
        ("--server", "127.0.0.1:1", "--head", "x"),
    ],
)
def test_what_contradicts_itself_is_a_wrong_usage(server: RunningServer, options: tuple[str, ...]) -> None:
    result = audited(server, *options)
    assert result.exit_code == 2
    assert result.stderr


def test_what_is_typed_counts_more_than_the_settings(server: RunningServer) -> None:
    env: dict[str, str | None] = {"LINEAGE_SERVER": "127.0.0.1:1", "LINEAGE_VERIFIER_KEY": server.verifier_key}
    assert run("audit", "--url", server.http_url, env=env).exit_code == 0
    env["LINEAGE_SERVER"] = server.address
    assert run("audit", env=env).exit_code == 0


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "nonsense", "http://user:secret@127.0.0.1/"])
def test_a_url_that_is_none_is_refused(server: RunningServer, url: str) -> None:
    report = document(audited(server, "--url", url, "--json"))
    assert report["exit_status"] == 2


def test_a_server_has_no_tiles(server: RunningServer) -> None:
    source = RpcSource(Endpoint(server.address))
    with pytest.raises(LineageError, match="entries alone"):
        source.tile_hashes(1, 0, 1)
    source.close()
