"""The benchmark of peers: what it hands out, how it counts, and that nothing it starts outlives it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.peers import __main__ as command
from benchmarks.peers import callers, environments, handle, processes
from benchmarks.peers.contract import Append, Case, NotRunError, Ran
from benchmarks.peers.entries import write_entries
from benchmarks.peers.pool import Pool, request_id_of
from benchmarks.peers.rounds import Entrant, results_of, run_all
from benchmarks.report import report
from lineage_ledger import kernel
from lineage_ledger.formats import packed
from lineage_ledger.v1 import entry_pb2
from tests.benchmarks.sqlite_peer import PEER

ROOT = environments.ROOT
ENVIRONMENT = Path(sys.prefix)
ENTRIES = 640


@pytest.fixture
def pool_file(tmp_path: Path) -> tuple[Path, int]:
    path = tmp_path / "entries"
    return path, write_entries(path, ENTRIES)


@pytest.fixture
def pool(pool_file: tuple[Path, int]) -> Pool:
    return Pool(*pool_file)


def test_entries_are_predictions_that_a_server_accepts_each_with_its_request_id(pool: Pool) -> None:
    entries = pool.take(ENTRIES)
    kernel.scan(packed.pack(entries))
    predictions = [entry_pb2.Entry.FromString(entry).prediction for entry in entries]
    assert [request_id_of(entry) for entry in entries] == [prediction.request_id for prediction in predictions]
    assert len({prediction.request_id for prediction in predictions}) == ENTRIES


def test_the_pool_gives_entries_in_order_and_then_again_from_the_first(pool: Pool) -> None:
    first, second = pool.take(400), pool.take(240)
    assert [*first, *second] == pool.entries
    assert pool.take(400) == first


def test_a_batch_that_does_not_fit_before_the_end_begins_at_the_first(pool: Pool) -> None:
    first = pool.take(400)
    assert pool.take(400) == first


def test_a_batch_larger_than_the_pool_is_refused(pool: Pool) -> None:
    with pytest.raises(ValueError, match="641 was asked of a pool of 640"):
        pool.take(641)


class _Memory:
    """A store that keeps what it is told to, and fails as it is told to."""

    version = "1"

    def __init__(self, *, loses: int = 0, refuses: int = -1, fails: bool = False) -> None:
        self.kept: list[bytes] = []
        self.connected = 0
        self._loses, self._refuses, self._fails = loses, refuses, fails
        self._lock = threading.Lock()

    @contextmanager
    def caller(self, case: Case) -> Iterator[Append]:
        with self._lock:
            self.connected += 1
            if self.connected == self._refuses:
                raise ConnectionError("no more connections")
        yield self._append

    def _append(self, batch: Sequence[bytes]) -> None:
        if self._fails:
            raise OSError("the disk is full")
        with self._lock:
            self.kept += batch[self._loses :]

    def count(self) -> int:
        return len(self.kept)

    def check(self) -> None: ...

    def close(self) -> None: ...


def test_each_caller_has_a_connection_and_appends_at_least_once(pool: Pool) -> None:
    store = _Memory()
    ran = callers.run(store, pool, Case("ones", 1, callers=7), 0.0)
    assert store.connected == 7 and ran.entries == len(store.kept) == 7
    assert store.kept == pool.entries[:7]


def test_a_run_lasts_as_long_as_it_is_told_to_and_counts_all_of_it(pool: Pool) -> None:
    store = _Memory()
    ran = callers.run(store, pool, Case("many", 64, callers=2), 0.2)
    assert 0.2 <= ran.seconds < 2
    assert ran.entries == len(store.kept) > 128
    assert ran.rate == ran.entries / ran.seconds


def test_entries_that_are_acknowledged_and_not_on_record_end_a_run(pool: Pool) -> None:
    with pytest.raises(callers.WrongCountError, match="many: 64 entries were acknowledged and 63 are on record"):
        callers.run(_Memory(loses=1), pool, Case("many", 64), 0.0)


def test_an_error_of_a_caller_is_raised(pool: Pool) -> None:
    with pytest.raises(OSError, match="the disk is full"):
        callers.run(_Memory(fails=True), pool, Case("many", 64, callers=3), 0.1)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("refused", [1, 3])
def test_a_caller_that_cannot_connect_does_not_leave_the_others_waiting(pool: Pool, refused: int) -> None:
    with pytest.raises(ConnectionError, match="no more connections"):
        callers.run(_Memory(refuses=refused), pool, Case("many", 64, callers=3), 0.1)


@contextmanager
def working(tmp_path: Path, pool_file: tuple[Path, int], name: str = "sound") -> Iterator[handle.Handle]:
    folder = tmp_path / name
    folder.mkdir()
    with handle.worker(PEER, ENVIRONMENT, folder, *pool_file) as worker:
        worker.opened()
        yield worker


def test_a_worker_runs_cases_in_a_process_of_its_own(tmp_path: Path, pool_file: tuple[Path, int]) -> None:
    with working(tmp_path, pool_file) as worker:
        assert worker.version
        assert worker.run(PEER.cases[0], 0.0).entries == 64
        assert worker.run(PEER.cases[1], 0.0).entries == 3
        worker.check()
    assert "noise" in (tmp_path / "sound.log").read_text()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("forgetful", "sqlite: WrongCountError: many: 64 entries were acknowledged and 63 are on record"),
        ("failing", "sqlite: OSError: the disk is gone"),
        ("dying", "sqlite: its worker ended: killed by a test"),
    ],
)
def test_what_goes_wrong_in_a_worker_is_raised_with_the_name_of_the_peer(
    tmp_path: Path, pool_file: tuple[Path, int], name: str, said: str
) -> None:
    with pytest.raises(handle.PeerError, match=said), working(tmp_path, pool_file, name) as worker:
        worker.run(PEER.cases[0], 0.0)


def test_what_a_peer_finds_wrong_with_its_own_record_is_raised(tmp_path: Path, pool_file: tuple[Path, int]) -> None:
    with pytest.raises(handle.PeerError, match="the chain is broken"), working(tmp_path, pool_file, "broken") as worker:
        worker.check()


def test_a_peer_that_is_not_to_be_had_says_why(tmp_path: Path, pool_file: tuple[Path, int]) -> None:
    with pytest.raises(NotRunError, match="it is not to be had here"), working(tmp_path, pool_file, "nowhere"):
        pass


def test_the_server_of_a_peer_ends_with_its_worker(tmp_path: Path, pool_file: tuple[Path, int]) -> None:
    with working(tmp_path, pool_file):
        server = int((tmp_path / "sound" / "pid").read_text())
        assert _runs(server)
    assert not _runs(server)


def test_the_server_of_a_peer_ends_after_a_benchmark_that_was_killed(
    tmp_path: Path, pool_file: tuple[Path, int]
) -> None:
    folder = tmp_path / "sound"
    folder.mkdir()
    path, entry_bytes = pool_file
    script = (
        "import sys; from pathlib import Path; from benchmarks.peers import handle;"
        "from tests.benchmarks.sqlite_peer import PEER\n"
        f"with handle.worker(PEER, Path({str(ENVIRONMENT)!r}), Path({str(folder)!r}), Path({str(path)!r}), "
        f"{entry_bytes}) as worker:\n worker.opened(); print('opened', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as benchmark:
        assert benchmark.stdout is not None
        assert benchmark.stdout.readline() == "opened\n"
        server = int((folder / "pid").read_text())
        assert _runs(server)
        benchmark.kill()
    until_s = time.monotonic() + 15
    while _runs(server):
        assert time.monotonic() < until_s, "the server of the peer goes on"
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        # A zombie has ended, too: who should collect it may be slow.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_server_that_ends_at_once_is_not_run_and_its_last_words_are_the_reason(tmp_path: Path) -> None:
    command_line = [sys.executable, "-c", "raise SystemExit('port taken')"]
    with (
        pytest.raises(NotRunError, match="its server did not start: port taken"),
        processes.running(command_line, log=tmp_path / "log", ready=lambda: False),
    ):
        pass


def test_a_server_ends_if_what_is_done_with_it_fails(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
    with (
        pytest.raises(KeyboardInterrupt),
        processes.running(
            [sys.executable, "-c", script, pid],
            log=tmp_path / "log",
            ready=lambda: pid.exists() and pid.stat().st_size > 0,
        ),
    ):
        server = int(pid.read_text())
        raise KeyboardInterrupt
    assert not _runs(server)


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The steps of installations, which are not taken; environments would be in a folder of the test."""
    taken: list[list[str]] = []

    def call(command: list[str | Path], **_variables: str) -> None:
        taken.append([str(part) for part in command])
        (tmp_path / PEER.name).mkdir(exist_ok=True)

    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    monkeypatch.setattr(environments, "ROOT", tmp_path)
    monkeypatch.setattr(environments, "call", call)
    return taken


def test_an_environment_is_made_once_and_anew_when_its_versions_change(steps: list[list[str]]) -> None:
    peer = replace(PEER, requirements=("one==1",))
    environments.prepare(peer)
    made = len(steps)
    assert made and steps[-1][-1] == "one==1"
    environments.prepare(peer)
    assert len(steps) == made
    environments.prepare(replace(PEER, requirements=("one==2",)))
    assert len(steps) == 2 * made and steps[-1][-1] == "one==2"


def test_an_installation_that_failed_is_not_tried_again_unless_asked_for(steps: list[list[str]]) -> None:
    tries = []

    def install(_environment: Path) -> None:
        tries.append(1)
        if len(tries) < 3:
            raise NotRunError("the compiler is too old")

    peer = replace(PEER, install=install)
    for again, tried in ((False, 1), (False, 1), (True, 2)):
        with pytest.raises(NotRunError, match="the compiler is too old"):
            environments.prepare(peer, again=again)
        assert len(tries) == tried
    environments.prepare(peer, again=True)
    environments.prepare(peer)
    assert len(tries) == 3


def test_what_a_failed_step_said_is_the_reason_without_addresses() -> None:
    script = "raise SystemExit('reading https://proxy.example.com/a/b/@v/list: 403 Forbidden')"
    with pytest.raises(NotRunError) as caught:
        environments.call([sys.executable, "-c", script])
    assert "said: reading REGISTRY: 403 Forbidden" in str(caught.value)
    assert "example.com" not in str(caught.value)


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(NotRunError, match="no-such-program is not on this machine"):
        environments.call(["no-such-program"])


class _Noted:
    version = "7"

    def __init__(self, name: str, noted: list[str]) -> None:
        self._name, self._noted = name, noted

    def run(self, case: Case, seconds: float) -> Ran:
        self._noted.append(f"{self._name} {case.name} {seconds}")
        return Ran(case.batch, 0.5)

    def check(self) -> None:
        self._noted.append(f"{self._name} checked")


def test_cases_run_in_turn_and_the_first_round_counts_for_nothing() -> None:
    noted: list[str] = []
    cases = [Case("many", 64), Case("one", 1)]
    entrants = [
        Entrant("a", "A", PEER.claims, cases, _Noted("a", noted)),
        Entrant("b", "B", PEER.claims, cases[:1], _Noted("b", noted)),
    ]
    rates = run_all(entrants, 2, 0.25)
    turn = ["a many", "b many", "a one"]
    assert noted == [f"{each} {s}" for s in (0.0, 0.25, 0.25) for each in turn] + ["a checked", "b checked"]
    results = results_of(entrants, rates, 104)
    assert [(result.name, result.value, result.runs) for result in results] == [
        ("a, many", 128, 2),
        ("a, one", 2, 2),
        ("b, many", 128, 2),
    ]
    params = results[0].params
    assert params["peer"] == "a" and params["version"] == "7" and params["case"] == "many"
    assert {"entry_bytes": 104, "batch": 64, "streams": 1, "checks": "counted"}.items() <= params.items()
    assert params["durability"] == "synced" and params["signed"] is False and params["entry_proof"] == "none"


def test_what_was_not_run_is_in_the_document_and_in_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    report("peers", [], as_json=True, not_run={"immudb": "go is not on this machine"})
    document = json.loads(capsys.readouterr().out)
    assert document["not_run"] == [{"name": "immudb", "reason": "go is not on this machine"}]
    report("peers", [], as_json=False, not_run={"immudb": "go is not on this machine"})
    assert capsys.readouterr().out == "immudb: not run: go is not on this machine\n"


def test_what_workers_import_needs_python_alone() -> None:
    modules = ["benchmarks.peers.worker", *(peer.connect.__module__ for peer in command.PEERS)]
    script = "".join(f"import {module}\n" for module in modules)
    subprocess.run([sys.executable, "-S", "-c", script], cwd=ROOT, env={}, check=True)


def test_peers_have_names_of_their_own_and_so_have_their_cases() -> None:
    names = [peer.name for peer in command.PEERS]
    assert len(set(names)) == len(names)
    for peer in command.PEERS:
        cases = [case.name for case in peer.cases]
        assert len(set(cases)) == len(cases)
        assert any(case.quick for case in peer.cases)
        assert any(case.batch == 1 for case in peer.cases), f"{peer.name} says nothing of one entry"
        assert all("==" in requirement for requirement in peer.requirements)
        assert all(case.batch <= command.QUICK.pool_entries for case in peer.cases)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder for Unix sockets, whose paths are bounded to some 100 bytes."""
    with tempfile.TemporaryDirectory(prefix="peers-") as name:
        yield Path(name)


def test_the_command_leaves_nothing_behind_when_it_is_stopped(short_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.peers", "--only", "lineage-ledger", "--data", short_path], cwd=ROOT
    ) as benchmark:
        until_s = time.monotonic() + 30
        while not (found := list(short_path.glob("lineage-bench-*/lineage-ledger/ledger/admin.sock"))):
            assert time.monotonic() < until_s and benchmark.poll() is None
            time.sleep(0.05)
        benchmark.send_signal(signal.SIGTERM)
        assert benchmark.wait(30) == 1
    assert found and not list(short_path.iterdir())
    assert not _serving(short_path)


def _serving(folder: Path) -> list[str]:
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            lines.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return [line for line in lines if str(folder) in line]
