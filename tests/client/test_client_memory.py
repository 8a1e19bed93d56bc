"""Clients that remember, against servers that show them other histories, older ones, and none that go on."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from lineage_ledger import AsyncClient, Client
from lineage_ledger.checkpoint_file import CheckpointFile
from lineage_ledger.errors import (
    CheckpointFileError,
    ForkError,
    OtherOriginError,
    ProofError,
    RollbackError,
    RpcError,
    StaleError,
    VerificationError,
)
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.note import Signer
from lineage_ledger.operations import Operations
from lineage_ledger.v1 import entry_pb2, proofs_pb2
from tests.cli.recorded_ledger import run, run_json
from tests.client.test_lying_server import Server
from tests.monitor.watched_logs import grow_server
from tests.support.server import RunningServer
from tests.trace.graphs import demo


@pytest.fixture
def server() -> Server:
    return Server(demo())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "seen"


def _forked(server: Server) -> Server:
    forked = Server(server.it)
    forked.entries[7] = forked.entries[8]
    return forked


def _operations(server: Server, path: Path | None = None, **options: Any) -> Operations:
    return Operations(server.it.ledger.verifier, checkpoint_file=path, **options)


def test_a_fork_that_is_shown_to_the_second_run_is_refused(server: Server, path: Path) -> None:
    server.size -= 5
    assert server.run(_operations(server, path).entry(3)).index == 3
    forked = _forked(server)
    with pytest.raises(ForkError) as caught:
        forked.run(_operations(server, path).entry(3))
    assert caught.value.evidence == (server.note(server.size), forked.note(forked.size))
    assert caught.value.proof
    with pytest.raises(ForkError, match="nobody has looked"):
        _operations(server, path)


def test_a_server_that_will_not_prove_is_refused_without_a_mark(server: Server, path: Path) -> None:
    server.size -= 5
    server.run(_operations(server, path).checkpoint())
    server.size += 5

    def refuse(request: Any, response: Any) -> None:
        if isinstance(request, proofs_pb2.GetConsistencyProofRequest):
            raise RpcError("no", status="OUT_OF_RANGE")

    steps = _operations(server, path).checkpoint()
    server.lie = refuse
    with pytest.raises(ForkError, match="cannot prove") as caught:
        server.run(steps)
    assert not caught.value.is_shown
    server.lie = lambda request, response: None
    assert server.run(_operations(server, path).checkpoint()).size == server.size


def test_a_server_that_is_away_meanwhile_is_no_fork(server: Server) -> None:
    operations = _operations(server)
    server.size -= 5
    server.run(operations.checkpoint())
    server.size += 5

    def away(request: Any, response: Any) -> None:
        if isinstance(request, proofs_pb2.GetConsistencyProofRequest):
            raise RpcError("away", status="UNAVAILABLE")

    server.lie = away
    with pytest.raises(RpcError):
        server.run(operations.checkpoint())


def test_a_rollback_after_a_restart_is_refused(server: Server, path: Path) -> None:
    server.run(_operations(server, path).checkpoint())
    server.size -= 5
    with pytest.raises(RollbackError):
        server.run(_operations(server, path).checkpoint())
    with pytest.raises(RollbackError):
        server.run(_operations(server, path).receipt(5))


def test_another_origin_is_refused(server: Server, path: Path) -> None:
    operations = _operations(server, path)
    server.run(operations.checkpoint())
    elsewhere = Signer("elsewhere.example.com", SigningKey.generate())

    def lie(request: Any, response: Any) -> None:
        if isinstance(request, proofs_pb2.GetCheckpointRequest):
            response.checkpoint = Checkpoint(elsewhere.name, 3, bytes(32)).sign(elsewhere)

    server.lie = lie
    with pytest.raises(OtherOriginError, match=r"elsewhere\.example\.com"):
        server.run(operations.checkpoint())


def test_an_answer_that_others_overtook_is_right_if_it_is_of_their_history(server: Server) -> None:
    """Two questions at once: the later answer comes first."""
    operations = _operations(server)
    server.size -= 9
    server.run(operations.checkpoint())
    steps = operations.checkpoint()
    call = steps.send(None)
    server.size += 2
    early = server._answer(call.method, call.request)
    server.size += 7
    assert server.run(operations.checkpoint()).size == server.size
    call = steps.send(early)
    with pytest.raises(StopIteration) as done:
        while True:
            call = steps.send(server._answer(call.method, call.request))
    assert done.value.value.size == server.size - 7
    newest = operations.history.newest
    assert newest is not None and newest.size == server.size


def test_two_questions_at_once_get_no_two_histories(server: Server) -> None:
    operations = _operations(server)
    forked = Server(server.it)
    forked.entries[-9:-1] = reversed(forked.entries[-9:-1])
    server.size -= 12
    server.run(operations.checkpoint())
    steps = operations.checkpoint()
    call = steps.send(None)
    other = forked._answer(call.method, call.request)
    server.size += 9
    server.run(operations.checkpoint())
    with pytest.raises(ForkError):
        call = steps.send(other)
        while True:
            call = steps.send(forked._answer(call.method, call.request))
    newest = operations.history.newest
    assert newest is not None and newest.note == server.note(server.size)


def _blocked(server: Server, time_unix_ns: int) -> None:
    """The tree ends with a block of that time."""
    block = entry_pb2.Block(number=9, time_unix_ns=time_unix_ns, previous_block_hash=bytes(31) + b"\1")
    server.entries.append(entry_pb2.Entry(block=block).SerializeToString())
    server.size = len(server.entries)


@pytest.mark.parametrize("age_s", [-400, 400])
def test_a_view_from_another_time_is_refused(age_s: int, server: Server) -> None:
    _blocked(server, time.time_ns() - age_s * 10**9)
    assert server.run(_operations(server, max_block_age_s=500.0).entry(3)).index == 3
    assert server.run(_operations(server).entry(3)).index == 3
    with pytest.raises(StaleError, match="clock"):
        server.run(_operations(server, max_block_age_s=180.0).entry(3))


def test_the_newest_block_is_asked_for_no_more_often_than_needed(server: Server) -> None:
    _blocked(server, time.time_ns())
    operations = _operations(server, max_block_age_s=180.0)
    server.run(operations.entry(3))
    calls = server.calls
    server.run(operations.entry(3))
    assert server.calls - calls == 2


def test_the_newest_block_is_proven_and_a_block(server: Server) -> None:
    old, new = time.time_ns() - 10**13, time.time_ns()
    _blocked(server, new)
    honest = server.entries[-1]
    _blocked(server, old)

    def lie(request: Any, response: Any) -> None:
        if getattr(response, "entry", b"") and request.index == server.size - 1:
            response.entry = honest

    server.lie = lie
    with pytest.raises(ProofError, match="not what its tree holds"):
        server.run(_operations(server, max_block_age_s=180.0).checkpoint())
    server.lie = lambda request, response: None
    server.size = 8
    with pytest.raises(VerificationError, match="ends with a block"):
        server.run(_operations(server, max_block_age_s=180.0).checkpoint())


def test_a_comparison_joins_what_two_have_seen(server: Server) -> None:
    forked = _forked(server)
    for size in (server.size - 5, server.size):
        other, newest = server.run(_operations(server).compare(server.note(size)))
        assert (other.size, newest.size) == (size, server.size)
        with pytest.raises(ForkError) as caught:
            server.run(_operations(server).compare(forked.note(size)))
        assert set(caught.value.evidence) == {forked.note(size), server.note(server.size)}
    smaller = Server(server.it)
    smaller.size -= 5
    with pytest.raises(ForkError):
        smaller.run(_operations(server).compare(forked.note(server.size)))


def checkpoint_of(note: str) -> Checkpoint:
    return Checkpoint.parse(note.split("\n\n")[0] + "\n")


# -- real servers ----------------------------------------------------------------------------------------------


def test_both_clients_share_a_file_and_refuse_a_copy_that_went_on(tmp_path: Path, path: Path) -> None:
    data, copy = tmp_path / "ledger", tmp_path / "copy"

    def checkpoint(server: RunningServer) -> Checkpoint:
        with Client(server.address, ledger=server.verifier_key, checkpoint_file=path, max_block_age_s=180) as client:
            return client.checkpoint()

    async def checkpoint_async(server: RunningServer) -> Checkpoint:
        vkey = server.verifier_key
        async with AsyncClient(server.address, ledger=vkey, checkpoint_file=path, max_block_age_s=180) as client:
            return await client.checkpoint()

    with RunningServer(data) as server:
        grow_server(server)
        server.stop()
    shutil.copytree(data, copy)
    with RunningServer(data) as server:
        first = checkpoint(server)
        grow_server(server)
        second = asyncio.run(checkpoint_async(server))
        assert second.size > first.size
        assert path.read_bytes().split(b"\n")[1] == str(second.size).encode()
    with RunningServer(copy) as server:
        with pytest.raises(RollbackError):
            checkpoint(server)
        grow_server(server, 3)
        with pytest.raises(ForkError) as caught:
            asyncio.run(checkpoint_async(server))
        assert caught.value.folder is not None and (caught.value.folder / "proof.txt").exists()
        with pytest.raises(ForkError, match="nobody has looked"):
            checkpoint(server)
        # Who has no file finds out by comparing.
        options = ("--server", server.address, "--verifier-key", server.verifier_key, "--json")
        compared = run("checkpoint", *options, "--compare", str(path))
        assert compared.exit_code == 1
        evidence = json.loads(compared.stderr)["error"]["evidence"]
        assert path.read_text() in evidence and len(evidence) == 2
        assert run_json("checkpoint", *options[:-1])["tree_size"] == checkpoint_of(evidence[1]).size
    # Whoever deletes both files begins anew, with the other history.
    path.unlink()
    CheckpointFile(path)._mark.unlink()
    with RunningServer(copy) as server:
        assert checkpoint(server).size > second.size


def test_a_file_that_is_no_checkpoint_stops_a_client_before_it_asks(path: Path) -> None:
    vkey = str(demo().ledger.verifier)
    path.write_bytes(b"no note\n")
    for client in (Client, AsyncClient):
        with pytest.raises(CheckpointFileError, match="changed or damaged"):
            client("127.0.0.1:1", ledger=vkey, checkpoint_file=path)
