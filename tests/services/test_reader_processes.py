"""`lineage serve --readers N`: processes at one address that end with the server, and are replaced when they die."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from lineage_ledger import Client
from lineage_ledger.v1 import admin_pb2, append_pb2, append_pb2_grpc, entries_pb2, entries_pb2_grpc
from lineage_ledger_server.errors import ProcessStartError
from lineage_ledger_server.serving import child_process
from lineage_ledger_server.serving.reader_process import ReaderProcesses
from lineage_ledger_server.serving.settings import ServerSettings
from tests.support.processes import children_of, eventually, is_alive, needs_proc
from tests.support.rpc import admin_stub, is_serving, registered
from tests.support.server import RunningServer

pytestmark = needs_proc
MODULE = "serving.reader_process"
TWO = ("--readers", "2")


@contextmanager
def connected(address: str) -> Iterator[grpc.Channel]:
    """A connection of its own, which the kernel gives to one of the readers."""
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield channel


def size_seen(channel: grpc.Channel) -> int:
    """Entries that a reader streams, genesis included."""
    answers = entries_pb2_grpc.EntryServiceStub(channel).StreamEntries(entries_pb2.StreamEntriesRequest(), timeout=10)
    return sum(answer.count for answer in answers)


def connections(pid: int) -> int:
    return sum(str(file.readlink()).startswith("socket:") for file in Path(f"/proc/{pid}/fd").iterdir())


def answers(address: str) -> bool:
    """Whether the reader to which the kernel gives a connection answers soon."""
    with connected(address) as channel:
        try:
            entries_pb2_grpc.EntryServiceStub(channel).GetEntry(entries_pb2.GetEntryRequest(), timeout=2)
        except grpc.RpcError:
            return False
    return True


def readers(server: RunningServer) -> tuple[int, int]:
    answer = admin_stub(server).GetStatistics(admin_pb2.GetStatisticsRequest(), timeout=10)
    return answer.readers_serving, answer.readers


def test_both_answer_what_the_writer_published_at_one_address(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "l", *TWO) as server:
        assert readers(server) == (2, 2)
        pids = children_of(server.process.pid, MODULE)
        before = [connections(pid) for pid in pids]
        registered(server)
        channels = [connected(server.readers_address) for _ in range(24)]
        opened = [channel.__enter__() for channel in channels]
        assert [size_seen(channel) for channel in opened] == [4] * 24
        # Each got some: all at one has the probability 2^-23.
        assert all(connections(pid) > count for pid, count in zip(pids, before, strict=True))
        for channel in channels:
            channel.__exit__(None, None, None)
        assert server.stop() == 0
        assert not any(map(is_alive, pids))
    assert "ERROR" not in (tmp_path / "l.log").read_text().upper()


def test_they_take_nothing_and_are_niced(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "l", *TWO) as server, connected(server.readers_address) as channel:
        producer = registered(server)
        with pytest.raises(grpc.RpcError) as refused:
            append_pb2_grpc.AppendServiceStub(channel).AppendBatch(
                append_pb2.AppendBatchRequest(packed_batch=producer.batch()), timeout=10
            )
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
        here = os.getpriority(os.PRIO_PROCESS, server.process.pid)
        for pid in children_of(server.process.pid, MODULE):
            assert os.getpriority(os.PRIO_PROCESS, pid) == min(19, here + 10)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_one_that_dies_is_replaced_and_the_other_answers_meanwhile(tmp_path: Path, number: signal.Signals) -> None:
    with RunningServer(tmp_path / "l", *TWO) as server:
        first, second = children_of(server.process.pid, MODULE)
        os.kill(first, number)
        eventually(lambda: not is_alive(first))
        with Client(server.readers_address, ledger=server.verifier_key) as client:
            assert client.get_entry(0).index == 0
        eventually(lambda: readers(server) == (2, 2))
        now = children_of(server.process.pid, MODULE)
        assert second in now and first not in now and len(now) == 2
        # The new one has the same address: without the other, it is the one that answers.
        os.kill(second, signal.SIGSTOP)
        eventually(lambda: answers(server.readers_address), 60)
        os.kill(second, signal.SIGCONT)
        assert server.stop() == 0


def test_one_that_is_down_is_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_process, "_MIN_BACKOFF_S", 60.0)
    with RunningServer(tmp_path / "l") as server:
        server.stop()
    processes = ReaderProcesses(2, "127.0.0.1:0", ServerSettings(tmp_path / "l"), "console")
    processes.start()
    try:
        assert (processes.serving, processes.number) == (2, 2)
        os.kill(children_of(os.getpid(), MODULE)[0], signal.SIGKILL)
        eventually(lambda: processes.serving == 1)
    finally:
        processes.stop()
    assert children_of(os.getpid(), MODULE) == []


def test_they_end_with_a_server_that_is_killed(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "l", "--readers", "3") as server:
        pids = children_of(server.process.pid, MODULE)
        assert len(pids) == 3
        with connected(server.readers_address) as channel:
            assert is_serving(channel)
            server.kill()
            eventually(lambda: not any(map(is_alive, pids)), 15)


def test_ctrl_c_is_for_the_server(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "l", *TWO) as server:
        pids = children_of(server.process.pid, MODULE)
        for pid in pids:
            os.kill(pid, signal.SIGINT)
        with connected(server.readers_address) as channel:
            assert is_serving(channel)
        assert children_of(server.process.pid, MODULE) == pids


def test_roles_are_those_of_the_server(tmp_path: Path) -> None:
    (tmp_path / "access.toml").write_text(f'[[token]]\nsha256 = "{"0" * 64}"\nroles = ["read"]\n')
    with (
        RunningServer(tmp_path / "l", *TWO, "--access", str(tmp_path / "access.toml")) as server,
        connected(server.readers_address) as channel,
        pytest.raises(grpc.RpcError) as refused,
    ):
        size_seen(channel)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_an_address_that_cannot_be_had_leaves_no_ledger_behind(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        for listen, says in ((taken, "in use"), ("0.0.0.0:0", "--tls-cert"), ("no port", "HOST:PORT")):
            command = [sys.executable, "-m", "lineage_ledger.cli", "serve", "--data", str(tmp_path / "l"), *TWO]
            done = subprocess.run(
                [*command, "--readers-listen", listen], capture_output=True, text=True, check=False, timeout=20
            )
            assert done.returncode == 1
            assert says in " ".join(done.stderr.split())
            assert not (tmp_path / "l").exists()


def test_two_servers_never_share_a_port(tmp_path: Path) -> None:
    """Else callers of one ledger would be answered by the other. Not even while the first has no readers yet."""
    settings = ServerSettings(tmp_path / "none")
    first = ReaderProcesses(1, "127.0.0.1:0", settings, "console")
    with pytest.raises(Exception, match="cannot listen on"):
        ReaderProcesses(1, first.address, settings, "console")
    first.stop()
    ReaderProcesses(1, first.address, settings, "console").stop()
    with RunningServer(tmp_path / "l", *TWO) as server, pytest.raises(Exception, match="cannot listen on"):
        ReaderProcesses(1, server.readers_address, settings, "console")


def test_readers_that_cannot_start_are_said_and_none_is_left(tmp_path: Path) -> None:
    processes = ReaderProcesses(2, "127.0.0.1:0", ServerSettings(tmp_path / "nothing"), "console")
    with pytest.raises(ProcessStartError, match="that serves reads did not start"):
        processes.start()
    assert processes.serving == 0
    assert children_of(os.getpid(), MODULE) == []
