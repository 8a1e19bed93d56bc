"""A disk that really fills: the ledger turns read-only, says so, and goes on when space returns."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import grpc
import pytest

from lineage_ledger.v1 import admin_pb2, append_pb2, append_pb2_grpc, entries_pb2, entries_pb2_grpc
from tests.support.rpc import admin_stub, is_serving, reason_of, registered
from tests.support.server import RunningServer


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 32 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            f"no right to mount a small disk: {mounted.stderr.strip()}"
        )
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def _append(stub, packed: bytes) -> append_pb2.AppendBatchResponse:
    return stub.AppendBatch(append_pb2.AppendBatchRequest(packed_batch=packed), timeout=20)


def test_a_full_disk_makes_the_ledger_read_only_until_space_returns(small_disk):
    with RunningServer(small_disk / "l") as server, grpc.insecure_channel(server.address) as channel:
        stub = append_pb2_grpc.AppendServiceStub(channel)
        producer = registered(server)
        taken = [_append(stub, producer.batch()).acknowledgement]
        ballast = small_disk / "ballast"
        with ballast.open("wb") as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(65_536))
                file.flush()
        refused_batch = None
        for _ in range(50):
            batch = producer.predictions(4_000)
            try:
                taken.append(_append(stub, batch).acknowledgement)
            except grpc.RpcError as error:
                refused_batch = batch
                assert reason_of(error)[:2] == (grpc.StatusCode.UNAVAILABLE, "DISK_FULL")
                break
        assert refused_batch is not None
        assert not is_serving(channel)
        statistics = admin_stub(server).GetStatistics(admin_pb2.GetStatisticsRequest(), timeout=5)
        assert not statistics.writable
        assert "disk is full" in statistics.not_writable_reason
        read = entries_pb2_grpc.EntryServiceStub(channel)
        for acknowledgement in taken:
            read.GetEntry(entries_pb2.GetEntryRequest(index=acknowledgement.seal_index), timeout=5)

        ballast.unlink()
        freed = time.monotonic()
        while True:
            try:
                again = _append(stub, refused_batch).acknowledgement
                break
            except grpc.RpcError:
                assert time.monotonic() - freed < 5
                time.sleep(0.1)
        assert time.monotonic() - freed < 5
        assert again.batch_sequence == taken[-1].batch_sequence + 1
        assert is_serving(channel)
        assert server.stop() == 0
    with RunningServer(small_disk / "l") as server, grpc.insecure_channel(server.address) as channel:
        assert _append(append_pb2_grpc.AppendServiceStub(channel), refused_batch).acknowledgement.duplicate


@pytest.mark.parametrize("log", ["beside it", "/dev/full"])
def test_an_idle_ledger_says_so_by_itself_when_space_returns(small_disk, log):
    """Also with a log that cannot be written, as it is when it lies on the same disk."""
    log_file = Path(log) if log.startswith("/") else None
    with RunningServer(small_disk / "l", log_file=log_file) as server, grpc.insecure_channel(server.address) as channel:
        stub = append_pb2_grpc.AppendServiceStub(channel)
        producer = registered(server)
        _append(stub, producer.batch())
        ballast = small_disk / "ballast"
        with ballast.open("wb") as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(65_536))
                file.flush()
        with pytest.raises(grpc.RpcError):
            for _ in range(50):
                _append(stub, producer.predictions(4_000))
        ballast.unlink()
        deadline = time.monotonic() + 5
        while not admin_stub(server).GetStatistics(admin_pb2.GetStatisticsRequest(), timeout=5).writable:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert server.stop() == 0
