"""One version number, and what follows from it; the lock is usable by plain pip anywhere."""

from __future__ import annotations

import re
import tomllib
import zipfile
from pathlib import Path

import pytest

from lineage_ledger._version import __version__
from tests.packaging.environments import CLIENT_PROJECT, ROOT, build_wheel

SERVER_PACKAGE = "lineage_ledger_server"


def read_member(wheel: Path, suffix: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(suffix))
        return archive.read(name).decode()


@pytest.fixture(scope="module")
def server_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(ROOT, tmp_path_factory.mktemp("server_wheel"))


def test_the_server_asks_for_the_client_of_its_own_version(server_wheel: Path, client_wheel: Path) -> None:
    server, client = read_member(server_wheel, "/METADATA"), read_member(client_wheel, "/METADATA")
    assert f"\nVersion: {__version__}\n" in server
    assert f"\nVersion: {__version__}\n" in client
    assert f"\nRequires-Dist: lineage-ledger[cli]=={__version__}\n" in server


def test_what_both_depend_on_they_bound_alike(server_wheel: Path, client_wheel: Path) -> None:
    def bounds(wheel: Path) -> dict[str, str]:
        lines = re.findall(r"(?m)^Requires-Dist: ([a-z-]+)([<>][^;\n]*)$", read_member(wheel, "/METADATA"))
        return dict(lines)

    server, client = bounds(server_wheel), bounds(client_wheel)
    assert client.items() <= server.items()
    assert [name for name, bound in server.items() if not ("<" in bound and ">=" in bound)] == []


def test_the_server_adds_its_commands_to_the_one_command(server_wheel: Path) -> None:
    entry_points = read_member(server_wheel, "/entry_points.txt")
    assert "[lineage_ledger.commands]" in entry_points
    assert re.findall(r"(?m)^(\w+) = ", entry_points) == ["data", "demo", "export", "index", "serve", "witness"]
    assert "[lineage_ledger.audits]\ndata = " in entry_points
    assert "console_scripts" not in entry_points


def test_the_server_wheel_holds_the_server_alone(server_wheel: Path) -> None:
    with zipfile.ZipFile(server_wheel) as archive:
        assert {name.split("/")[0].split("-")[0] for name in archive.namelist()} == {SERVER_PACKAGE}


def test_the_changelog_knows_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## [{__version__}]" in changelog or "\n## [Unreleased]" in changelog


def test_both_distributions_carry_the_same_licence() -> None:
    assert (ROOT / "LICENSE").read_bytes() == (CLIENT_PROJECT / "LICENSE").read_bytes()


def test_the_lock_pins_by_digest_and_names_no_place() -> None:
    lock = (ROOT / "requirements-dev.lock").read_text(encoding="utf-8")
    requirements = [line for line in lock.splitlines() if line and not line.startswith((" ", "#"))]
    assert requirements
    assert [line for line in requirements if not re.match(r"[a-z0-9-]+==[^ ]+( ; .+)? \\$", line)] == []
    assert "://" not in lock
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", lock)) >= len(requirements)


def test_the_lock_holds_every_direct_dependency() -> None:
    lock = (ROOT / "requirements-dev.lock").read_text(encoding="utf-8")
    locked = set(re.findall(r"(?m)^([a-z0-9-]+)==", lock))
    server = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    client = tomllib.loads((CLIENT_PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *server["dependency-groups"]["dev"],
        *server["project"]["optional-dependencies"]["demo"],
        *client["dependencies"],
        *client["optional-dependencies"]["cli"],
    ]
    assert {re.split(r"[<>=]", line)[0] for line in wanted} <= locked
