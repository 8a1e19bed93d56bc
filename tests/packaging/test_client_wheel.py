"""The client is thin: it brings what it declares, loads late what is heavy, and does without a compiler."""

from __future__ import annotations

import json
import re
import shutil
import sysconfig
import zipfile
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

import pytest

from tests.packaging.environments import CLIENT_PROJECT, build_wheel, has_compiler, make_environment, run

DECLARED = {"grpcio", "protobuf", "pynacl"}
THEIR_OWN = {"cffi", "pycparser", "typing-extensions"}  # what those three bring along
PROBE_IMPORTS = """
import json, sys
import lineage_ledger, lineage_ledger.kernel
print(json.dumps({"modules": sorted(sys.modules), "kernel": lineage_ledger.kernel.KERNEL}))
"""
PROBE_DISTRIBUTIONS = """
import json
from importlib.metadata import distributions
print(json.dumps([d.metadata["Name"].lower().replace("_", "-") for d in distributions()]))
"""


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return BytesParser().parsebytes(archive.read(name))


@pytest.fixture(scope="module")
def clean_python(client_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("clean"), client_wheel)


def test_it_brings_what_it_declares_and_no_more(client_wheel: Path, clean_python: Path, tmp_path: Path) -> None:
    required = metadata_of(client_wheel).get_all("Requires-Dist", [])
    assert {re.split(r"[<>=;]", line)[0] for line in required if "extra ==" not in line} == DECLARED
    installed = set(json.loads(run(clean_python, "-c", PROBE_DISTRIBUTIONS, cwd=tmp_path)))
    assert {"lineage-ledger"} | DECLARED <= installed <= {"lineage-ledger"} | DECLARED | THEIR_OWN


def test_importing_it_loads_nothing_heavy(clean_python: Path, tmp_path: Path) -> None:
    loaded = json.loads(run(clean_python, "-I", "-c", PROBE_IMPORTS, cwd=tmp_path))["modules"]
    assert {"grpc", "asyncio", "click", "rich"}.isdisjoint(loaded)


def test_what_needs_the_extra_says_so_and_all_else_imports_without_it(clean_python: Path, tmp_path: Path) -> None:
    script = """
import importlib, json, pkgutil, lineage_ledger
needy = set()
for module in pkgutil.walk_packages(lineage_ledger.__path__, "lineage_ledger."):
    if module.name.startswith("lineage_ledger.cli") or module.name.startswith("lineage_ledger._kernel"):
        continue
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        assert "install lineage-ledger[cli]" in str(error), (module.name, error)
        needy.add(module.name.split(".")[1])
print(json.dumps(sorted(needy)))
"""
    assert json.loads(run(clean_python, "-I", "-c", script, cwd=tmp_path)) == ["monitor", "sources", "web"]


def test_the_wheel_holds_types_and_licence_and_no_sources_of_the_kernel(client_wheel: Path) -> None:
    with zipfile.ZipFile(client_wheel) as archive:
        names = archive.namelist()
    assert {"lineage_ledger/py.typed", "lineage_ledger/v1/entry_pb2.pyi"} <= set(names)
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert not [name for name in names if name.endswith(".c") or not name.startswith("lineage_ledger")]


@pytest.mark.skipif(not has_compiler(), reason="no C compiler on this machine")
def test_with_a_compiler_one_binary_serves_every_python(client_wheel: Path, clean_python: Path, tmp_path: Path) -> None:
    assert "-cp311-abi3-" in client_wheel.name
    assert json.loads(run(clean_python, "-c", PROBE_IMPORTS, cwd=tmp_path))["kernel"] == "c"


def test_without_a_compiler_it_builds_and_runs_in_python(tmp_path: Path) -> None:
    wheel = build_wheel(CLIENT_PROJECT, tmp_path, {"CC": "/bin/false", "LINEAGE_BUILD_KERNEL": ""})
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".so")]
        archive.extractall(unpacked)
    # The dependencies may come from here: what is asked for is which kernel these files give.
    script = f"import sys; sys.path.insert(0, {str(unpacked)!r})\n{PROBE_IMPORTS}"
    python = shutil.which("python3", path=sysconfig.get_path("scripts")) or "python3"
    assert json.loads(run(python, "-c", script, cwd=tmp_path))["kernel"] == "python"


def test_a_release_build_fails_without_a_compiler(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="_kernel"):
        build_wheel(CLIENT_PROJECT, tmp_path, {"CC": "/bin/false", "LINEAGE_BUILD_KERNEL": "c"})


def test_a_build_told_to_leave_the_kernel_out_gives_a_wheel_for_any_machine(tmp_path: Path) -> None:
    wheel = build_wheel(CLIENT_PROJECT, tmp_path, {"LINEAGE_BUILD_KERNEL": "python"})
    assert wheel.name.endswith("-py3-none-any.whl")
