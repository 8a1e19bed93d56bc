"""The first start of a ledger, killed before each of its system calls that make something; and on folders as they come.

Killed means that the process ends there, without any `finally`.
"""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from lineage_ledger.errors import InvalidKeyError, SettingsError
from lineage_ledger.formats import strict
from lineage_ledger.v1 import admin_pb2
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server.ledger import open_ledger
from lineage_ledger_server.serving.ledger_server import LedgerServer
from lineage_ledger_server.serving.settings import ServerSettings
from tests.support.rpc import admin_stub, registered
from tests.support.server import RunningServer

_STEPS = ("mkdir", "link", "fsync", "fdatasync", "pwrite", "replace")
_SCRIPT = """
import os, sys
from pathlib import Path
from lineage_ledger_server.data_dir import DataDir
from lineage_ledger_server import head
from lineage_ledger_server.ledger import open_ledger

steps, left = sys.argv[2].split(","), int(sys.argv[3])
def killed_before(step):
    def call(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            os._exit(9)
        return step(*arguments, **options)
    return call
for name in steps:
    setattr(os, name, killed_before(getattr(os, name)))
head._sync_data = os.fdatasync
open_ledger(DataDir(Path(sys.argv[1])), origin="example.com/ledger/new").close()
"""


def _start(data: Path, kill_at: int) -> int:
    return subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(data), ",".join(_STEPS), str(kill_at)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.DEVNULL,
        check=False,
        timeout=30,
    ).returncode


@pytest.mark.parametrize("part", range(2))
def test_killed_at_each_step_it_starts_the_next_time(tmp_path: Path, part: int) -> None:
    kill_at = 1 + part
    while _start(tmp_path / str(kill_at), kill_at) == 9:
        ledger = open_ledger(DataDir(tmp_path / str(kill_at)), origin="example.com/ledger/new")
        assert strict.parse_entry(ledger.reader.entry(0)).genesis.origin == "example.com/ledger/new"
        assert DataDir(tmp_path / str(kill_at)).verifier_key.read_text() == f"{ledger.verifier}\n"
        ledger.close()
        kill_at += 2
    assert kill_at > 10


def test_what_it_makes_is_for_its_account_alone(tmp_path: Path) -> None:
    data = tmp_path / "l"
    (data / "keys").mkdir(parents=True)
    for folder in (data, data / "keys"):
        folder.chmod(0o777)
    mask = os.umask(0)
    try:
        with RunningServer(data) as server:
            registered(server)
            for path in (data, *data.rglob("*")):
                if path.name != "verifier.key":
                    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    finally:
        os.umask(mask)


def test_a_ledger_without_its_key_makes_no_other_one(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path / "l")
    open_ledger(data_dir).close()
    data_dir.verifier_key.unlink()
    data_dir.ledger_key.rename(tmp_path / "kept")
    with pytest.raises(SettingsError, match="put the key back"):
        open_ledger(data_dir)
    assert not data_dir.ledger_key.exists()
    (tmp_path / "kept").rename(data_dir.ledger_key)
    open_ledger(data_dir).close()
    assert data_dir.verifier_key.exists()


@pytest.mark.parametrize(
    "origin", ["a b", "a+b", "a\nb", "a\x00b", "a\u2028b", "x" * 250, "\udcff", "\x1b[2J"], ids=ascii
)
def test_a_hostile_origin_leaves_nothing_in_the_way(tmp_path: Path, origin: str) -> None:
    data_dir = DataDir(tmp_path / "l")
    with pytest.raises(InvalidKeyError):
        open_ledger(data_dir, origin=origin)
    open_ledger(data_dir, origin="example.com/l").close()


@pytest.mark.parametrize("name", ["with space", "100%25", "a?b#c", "\u00fc"])
def test_the_admin_socket_is_reached_whatever_its_folder_is_called(tmp_path: Path, name: str) -> None:
    with RunningServer(tmp_path / name) as server:
        assert (server.data / "admin.sock").is_socket()
        with socket.socket(socket.AF_UNIX) as plain:
            plain.connect(str(server.data / "admin.sock"))
        assert server.stop() == 0


def test_a_stale_socket_is_no_obstacle_and_a_path_too_long_is_said_before_anything_is_made(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "l") as server:
        server.kill()
    assert (tmp_path / "l" / "admin.sock").is_socket()
    with RunningServer(tmp_path / "l") as server:
        admin_stub(server).GetStatistics(admin_pb2.GetStatisticsRequest(), timeout=5)
        assert server.stop() == 0
    long = tmp_path / ("x" * 100) / "l"
    with pytest.raises(SettingsError, match="shorter"):
        LedgerServer(ServerSettings(data=long, listen="127.0.0.1:0"))
    assert not long.exists()


def test_a_port_in_use_is_said_and_the_ledger_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with RunningServer(tmp_path / "l") as server:
        with pytest.raises(SettingsError, match="in use"):
            LedgerServer(ServerSettings(data=tmp_path / "m", listen=server.address))
        open_ledger(DataDir(tmp_path / "m")).close()
        with grpc.insecure_channel(server.address) as channel:
            grpc.channel_ready_future(channel).result(5)


def test_a_folder_with_other_things_in_it_is_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o755)
    (folder / "letter.txt").write_text("mine")
    with pytest.raises(SettingsError, match=r"'letter\.txt'.*a folder of its own"):
        open_ledger(DataDir(folder))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert [path.name for path in folder.iterdir()] == ["letter.txt"]
    (folder / "letter.txt").unlink()
    (folder / "lost+found").mkdir()  # a volume of its own
    open_ledger(DataDir(folder)).close()
    (folder / "letter.txt").write_text("put there later")
    open_ledger(DataDir(folder)).close()
