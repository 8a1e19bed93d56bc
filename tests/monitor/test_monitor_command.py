"""`lineage monitor` against real servers: over gRPC and HTTP, across restarts, old copies and twins."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lineage_ledger.cli.app import lineage
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.note import Verifier
from tests.monitor.watched_logs import Ledger, Receiver, grow_server
from tests.support.processes import watched
from tests.support.server import RunningServer

VKEY = str(Verifier("example.com/ledger/test", SigningKey.from_seed(bytes(32)).public_key))


def _run(*arguments: object, **variables: str) -> Result:
    environment = {"LINEAGE_CONFIG": None, "LINEAGE_SERVER": None, "LINEAGE_VERIFIER_KEY": None, **variables}
    return CliRunner(env=environment).invoke(lineage, [str(each) for each in arguments])


def _table(name: str, **values: str) -> str:
    return "\n".join(["[[monitor.ledger]]", *(f'{key} = "{value}"' for key, value in {"name": name, **values}.items())])


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def _logged(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capfd.readouterr().err.splitlines()]


def test_a_server_and_its_files_are_watched_and_only_the_new_is_read(
    tmp_path: Path, state: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with RunningServer(tmp_path / "ledger", "--http", "127.0.0.1:0") as server:
        config = tmp_path / "lineage.toml"
        tables = [
            _table("grpc", server=server.address, verifier_key=server.verifier_key),
            _table("http", url=server.http_url, verifier_key=server.verifier_key),
        ]
        config.write_text('server = "127.0.0.1:1"\n' + "\n".join(tables) + "\n")
        checked, total = [], 0
        for count in (3, 2, 0):
            grow_server(server, count)
            result = _run("--config", config, "monitor", "--state", state, "--once", "--json")
            assert result.exit_code == 0, result.stderr
            document = json.loads(result.stdout)
            assert document["exit_status"] == 0
            assert {each["tree_size"] for each in document["ledgers"].values()} == {2 + 2 * (total := total + count)}
            rounds = _logged(capfd)
            assert {each["event"] for each in rounds} == {"round"}
            assert {each["ledger"] for each in rounds} == {"grpc", "http"}
            checked.append({each["entries_checked"] for each in rounds})
        assert checked == [{2 + 3 * 2}, {2 * 2}, {0}]
        grpc, http = ((state / name / "checkpoint").read_bytes() for name in ("grpc", "http"))
        assert grpc == http


def test_a_server_put_back_from_an_old_copy_and_two_from_one_copy(
    tmp_path: Path, state: Path, receiver: Receiver, capfd: pytest.CaptureFixture[str]
) -> None:
    data, copy = tmp_path / "ledger", tmp_path / "copy"

    def watch(server: RunningServer) -> Result:
        options = ["--server", server.address, "--key", server.verifier_key, "--webhook", receiver.url]
        return _run("monitor", "--state", state, *options, "--once")

    with RunningServer(data) as server:
        grow_server(server)
        assert server.stop() == 0
    shutil.copytree(data, copy)
    with RunningServer(data) as server:
        grow_server(server, 2)
        assert watch(server).exit_code == 0
    with RunningServer(copy) as server:
        assert watch(server).exit_code == 1
        assert receiver.kinds == ["rollback"]
        grow_server(server, 4)
        assert watch(server).exit_code == 1
        assert receiver.kinds == ["rollback", "fork"]
        assert watch(server).exit_code == 1
    with RunningServer(data) as server:
        assert watch(server).exit_code == 1
    assert receiver.kinds == ["rollback", "fork"]
    assert [each["kind"] for each in _logged(capfd) if each["event"] == "failure"] == ["rollback", "fork"]
    mark = next(state.glob("*/checkpoint.fork"))
    assert Path(receiver.received[1]["evidence_folder"]).name in mark.read_text()
    mark.unlink()
    with RunningServer(data) as server:
        assert watch(server).exit_code == 0


@pytest.mark.parametrize(
    "wrong", [["--webhook", "foo"], ["--metrics", "foo"], ["--url", "http://127.0.0.1:1"]], ids=lambda wrong: wrong[0]
)
def test_what_keeps_a_round_from_being_done_is_not_the_ledgers_failure(state: Path, wrong: list[str]) -> None:
    options = ["--server", "127.0.0.1:1", "--key", VKEY, *wrong]
    result = _run("monitor", "--state", state, *options, "--once")
    assert result.exit_code == 2
    assert wrong[1] in result.stderr or wrong[0] in result.stderr


def test_a_server_that_is_away_could_not_be_checked(
    tmp_path: Path, state: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with RunningServer(tmp_path / "ledger") as server:
        options = ("monitor", "--state", state, "--server", server.address, "--key", server.verifier_key, "--once")
        assert _run(*options).exit_code == 0
        server.kill()
    assert _run(*options).exit_code == 2
    assert [each.get("kind") for each in _logged(capfd)] == [None, "unreachable"]


def test_it_runs_until_it_is_stopped_and_shows_metrics(tmp_path: Path, state: Path, receiver: Receiver) -> None:
    ledger = Ledger(tmp_path / "log")
    program = "from lineage_ledger.cli import main; main()"
    options = ["--state", str(state), "--folder", str(ledger.root), "--key", ledger.vkey, "--interval-s", "0.1"]
    with watched(
        subprocess.Popen(
            [sys.executable, "-c", program, "monitor", *options, "--metrics", "0", "--webhook", receiver.url],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
    ) as process:
        try:
            assert process.stderr is not None
            url = process.stderr.readline().removeprefix("metrics on ").strip()
            assert url.startswith("http://127.0.0.1:")
            assert json.loads(process.stderr.readline())["event"] == "round"
            text = urllib.request.urlopen(url, timeout=5).read().decode()
            name = re.escape(ledger.builder.origin)
            assert re.search(rf'^lineage_monitor_reachable{{ledger="{name}"}} 1.0$', text, re.MULTILINE)
            assert re.search(
                rf'^lineage_monitor_failures_total{{kind="fork",ledger="{name}"}} 0.0$', text, re.MULTILINE
            )
            assert "_created" not in text
            (ledger.root / "checkpoint").write_bytes(b"no note\n")
            while json.loads(process.stderr.readline())["event"] != "alarm":
                pass
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()
    assert receiver.kinds == ["checkpoint"]


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("", "say what to watch"),
        ("[monitor]\nledger = 3", "[[monitor.ledger]]"),
        ("[monitor]\nledger = []", "[[monitor.ledger]]"),
        ("[monitor]\nledger = [3]", "is not a table"),
        (_table("a", server="x:1"), "needs verifier_key"),
        (_table("a", verifier_key="KEY"), "one of server, url and folder"),
        (_table("a", verifier_key="KEY", server="x:1", url="http://x"), "one of server, url and folder"),
        (_table("a", verifier_key="KEY", server="x:1", colour="red"), "no setting 'colour'"),
        (_table("", verifier_key="KEY", server="x:1"), "name of ledger 1"),
        (_table("a", verifier_key="KEY", server="x:1") + "\ntimeout_s = true", "must be a number"),
        (_table("a", verifier_key="KEY", server="x:1") + "\nmax_block_age_s = -1", "must be a number"),
        (_table("a", verifier_key="nothing", server="x:1"), "verifier key"),
        (_table("a", verifier_key="KEY", folder="x") + "\n" + _table("a", verifier_key="KEY", folder="y"), "own"),
    ],
)
def test_what_cannot_be_watched_is_refused(toml: str, said: str, tmp_path: Path, state: Path) -> None:
    vkey = Ledger(tmp_path / "log").vkey
    (tmp_path / "lineage.toml").write_text(toml.replace("KEY", vkey))
    result = _run("--config", tmp_path / "lineage.toml", "monitor", "--state", state, "--key", vkey, "--once")
    assert result.exit_code != 0
    assert said in result.stderr


@pytest.mark.parametrize("address", ["x", ":1", "127.0.0.1:", "127.0.0.1:70000", "1.2.3.4:5:x", "-1"])
def test_an_address_of_metrics_that_is_none_is_refused(address: str, tmp_path: Path, state: Path) -> None:
    ledger = Ledger(tmp_path / "log")
    options = ("--folder", ledger.root, "--key", ledger.vkey, "--once", "--metrics", address)
    assert _run("monitor", "--state", state, *options).exit_code == 2


def test_what_is_typed_counts_more_than_the_tables(tmp_path: Path, state: Path) -> None:
    ledger = Ledger(tmp_path / "log")
    (tmp_path / "lineage.toml").write_text(_table("away", server="127.0.0.1:1", verifier_key=ledger.vkey))
    options = ("monitor", "--state", state, "--folder", ledger.root, "--key", ledger.vkey, "--once")
    result = _run("--config", tmp_path / "lineage.toml", *options)
    assert result.exit_code == 0
