"""Emitters that have everything proven, on the real ledger: through restarts, in several processes, on an old copy."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from lineage_ledger.emitter import Backoff, Emitter, Policy
from lineage_ledger.errors import HistoryError, OtherOriginError
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.note import Verifier
from tests.keys.rotating import rotate
from tests.support.rpc import registered
from tests.support.server import RunningServer

PROVEN = Policy(prove=True, when_full="block", max_batch_entries=700, backoff=Backoff(0.01, 0.1, 0.1))


def _emitter(server: RunningServer, key: SigningKey, file: Path | None = None) -> Emitter:
    return Emitter(server.address, ledger=server.verifier_key, key=key, checkpoint_file=file, policy=PROVEN)


def _emit(emitter: Emitter, count: int) -> None:
    binding = emitter.bind(bytes(range(32)))
    for place in range(count):
        binding.emit(place.to_bytes(32, "big"), bytes(32))


def test_every_batch_is_proven_while_others_append_and_the_server_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint"
    with RunningServer(tmp_path / "l") as server:
        key, other_key = registered(server).key, registered(server).key
        # They share one file, as the workers of one server do.
        with _emitter(server, key, file) as emitter, _emitter(server, other_key, file) as other:
            others = threading.Thread(target=_emit, args=(other, 20_000))
            others.start()
            _emit(emitter, 20_000)
            others.join()
            assert emitter.flush(20) and other.flush(20)
            address = server.address
            server.kill()
            _emit(emitter, 5_000)
            with RunningServer(tmp_path / "l", listen=address) as again:
                assert again.verifier_key == server.verifier_key
                assert emitter.flush(20)
                _emit(other, 100)
                assert other.flush(20)
                assert emitter.close() and other.close()
            for each, entries in ((emitter, 25_000), (other, 20_100)):
                assert (each.statistics.mismatches, each.statistics.lost) == (0, 0)
                assert each.statistics.acknowledged == entries
    kept = Checkpoint.open(file.read_bytes(), Verifier.parse(server.verifier_key))
    assert kept.size > 45_100


def test_a_ledger_restored_from_an_old_copy_acknowledges_nothing_to_who_remembers(tmp_path: Path) -> None:
    data, copy, file = tmp_path / "l", tmp_path / "copy", tmp_path / "checkpoint"
    with RunningServer(data) as server:
        key = registered(server).key
    shutil.copytree(data, copy, ignore=shutil.ignore_patterns("*.sock", "lock"))
    with RunningServer(data) as server, _emitter(server, key, file) as emitter:
        _emit(emitter, 1_000)
        assert emitter.flush(10)
    shutil.rmtree(data)
    copy.rename(data)
    with RunningServer(data) as server:
        with _emitter(server, key) as unaware:  # others make it larger than it was
            _emit(unaware, 5_000)
            assert unaware.flush(10)
        with _emitter(server, key, file) as emitter:
            _emit(emitter, 1_000)
            with pytest.raises(HistoryError) as told:
                emitter.flush(10)
            assert told.value.evidence[0] == file.read_bytes() and told.value.folder is not None
            assert emitter.statistics.acknowledged == 0
            emitter.close(0.1)


def test_another_ledger_is_noticed_before_anything_is_lost(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "one") as one, RunningServer(tmp_path / "two") as two:
        key = registered(one).key
        emitter = Emitter(two.address, ledger=one.verifier_key, key=key, policy=PROVEN)
        _emit(emitter, 100)
        with pytest.raises(OtherOriginError, match=two.origin):
            emitter.flush(10)
        assert emitter.statistics.lost == 0
        emitter.close(0.1)


def test_a_change_of_the_ledgers_key_is_followed_and_is_no_mismatch(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint"
    with RunningServer(tmp_path / "l") as server:
        key = registered(server).key
        with _emitter(server, key, file) as emitter:
            for _ in range(2):
                _emit(emitter, 1_000)
                assert emitter.flush(10)
                rotate(server.data)
            _emit(emitter, 1_000)
            assert emitter.flush(10)
        assert (emitter.statistics.mismatches, emitter.statistics.acknowledged) == (0, 3_000)
        rotate(server.data)
        with _emitter(server, key, file) as successor:  # that still has the first key pinned
            _emit(successor, 1_000)
            assert successor.flush(10)
        assert (successor.statistics.mismatches, successor.statistics.acknowledged) == (0, 1_000)
