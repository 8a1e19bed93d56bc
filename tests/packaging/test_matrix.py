"""Both ends of every declared range, and versions between, each in a clean environment of its own.

The lower ends are read from the metadata, so that a range cannot be declared and not be tested.
"""

from __future__ import annotations

import re
import shutil
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

from tests.packaging.environments import BUILT, CLIENT_PROJECT, ROOT, build_wheel, has_compiler, make_environment, run

# Generated code must not warn that it and its runtime do not match (UserWarning, RuntimeWarning). Old protobuf itself
# brings a DeprecationWarning on newer Pythons, of which we promise nothing.
WARNINGS = ("-W", "error", "-W", "ignore::DeprecationWarning")
IMPORT_GENERATED = """
import importlib, pkgutil
import lineage_ledger.v1 as v1
names = [module.name for module in pkgutil.iter_modules(v1.__path__)]
assert len(names) >= 14, names
for name in names:
    importlib.import_module(f"lineage_ledger.v1.{name}")
from lineage_ledger.v1 import entry_pb2
entry = entry_pb2.Entry(prediction=entry_pb2.Prediction(binding_row=1))
assert entry_pb2.Entry.FromString(entry.SerializeToString()) == entry
"""
IMPORT_ALL = """
import importlib, pkgutil, sys
for package in map(importlib.import_module, sys.argv[1:]):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith(("._kernel", "._kernel_emit", ".__main__")) and ".cli.demo" not in module.name:
            importlib.import_module(module.name)
"""
# grpcio and protobuf; the newest Python that this grpcio has wheels for, if that is behind the times.
GENERATED_ON = {
    "oldest": (("grpcio==1.63.2", "protobuf==5.26.1"), (3, 12)),
    "between": (("grpcio==1.74.0", "protobuf==6.31.1"), (3, 13)),
    "newest": (("grpcio<2", "protobuf<8"), None),
}


def lower_ends(distribution: str, *, extra: str = "") -> dict[str, str]:
    """`name==version` at the lower end of each range that the installed distribution declares."""
    found = {}
    for line in requires(distribution) or []:
        requirement, _, marker = line.partition(";")
        wanted = not marker or (extra and f'extra == "{extra}"' in marker)
        if wanted and (match := re.match(r"([a-z0-9-]+).*>=([0-9.]+)", requirement)):
            found[match[1]] = f"{match[1]}=={match[2]}"
    return found


@pytest.mark.long
@pytest.mark.parametrize("row", GENERATED_ON)
def test_generated_code_imports_without_a_warning(row: str, client_wheel: Path, tmp_path: Path) -> None:
    versions, newest_python = GENERATED_ON[row]
    if newest_python and sys.version_info[:2] > newest_python:
        pytest.skip(f"{versions[0]} has no wheel for this Python")
    python = make_environment(tmp_path / "environment", client_wheel, *versions)
    run(python, "-I", *WARNINGS, "-c", IMPORT_GENERATED, cwd=tmp_path)


def test_the_oldest_row_is_the_lower_end_that_is_declared() -> None:
    ends = lower_ends("lineage-ledger")
    assert {ends["grpcio"], ends["protobuf"]} == set(GENERATED_ON["oldest"][0])


@pytest.mark.long
@pytest.mark.skipif(sys.version_info >= (3, 13), reason="the oldest grpcio has no wheel for this Python")
def test_both_packages_import_on_all_lower_ends(client_wheel: Path, tmp_path: Path) -> None:
    ends = lower_ends("lineage-ledger-server") | lower_ends("lineage-ledger", extra="cli")
    assert {"lmdb", "structlog", "click", "rich", "pynacl"} <= ends.keys()
    server_wheel = build_wheel(ROOT, tmp_path / "build")
    python = make_environment(tmp_path / "environment", client_wheel, server_wheel, *ends.values())
    run(python, "-I", "-c", IMPORT_ALL, "lineage_ledger", "lineage_ledger_server", cwd=tmp_path)


@pytest.mark.long
def test_an_installation_from_source_needs_only_what_the_build_declares(tmp_path: Path) -> None:
    """With build isolation, as `pip install` does it; the kernel is the C one where there is a compiler."""
    source = tmp_path / "source"
    shutil.copytree(CLIENT_PROJECT, source, ignore=BUILT)
    python = make_environment(tmp_path / "environment", "pip")
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", source, cwd=tmp_path)
    kernel = run(python, "-I", "-c", "from lineage_ledger.kernel import KERNEL; print(KERNEL)", cwd=tmp_path).strip()
    assert kernel == ("c" if has_compiler() else "python")
