"""The wheel that one CPython built, in later ones that this machine has: the stable ABI is what it says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel.kernel_examples import pack, prediction
from tests.packaging.environments import has_compiler, run

VERSIONS = ("3.12", "3.13", "3.14")
PROGRAM = """
import sys
from lineage_ledger import _kernel, _kernel_emit, _kernel_python, kernel
from lineage_ledger.formats import strict
batch = bytes.fromhex(sys.argv[1])
assert _kernel.scan_batch(batch) == _kernel_python.scan_batch(batch)
refusals = set()
for scan in (_kernel.scan, _kernel_python.scan):
    try:
        scan(batch[:-1])
    except Exception as error:
        refusals.add((type(error), str(error)))
assert len(refusals) == 1, refusals
print("%d.%d" % sys.version_info[:2], kernel.KERNEL, kernel.describe())
"""


def other_python(version: str) -> Path | None:
    """A CPython of that version that runs: on PATH, or among pyenv's."""
    on_path = shutil.which(f"python{version}")
    found = [Path(on_path)] if on_path else []
    # A shim of pyenv is on PATH whether or not the version may be used here; the versions lie beside the shims.
    roots = {Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")), *(path.parent.parent for path in found)}
    found += [
        python for root in sorted(roots) for python in sorted(root.glob(f"versions/{version}.*/bin/python{version}"))
    ]
    return next((python for python in found if _runs(python)), None)


def _runs(python: Path) -> bool:
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


@pytest.mark.long
@pytest.mark.skipif(not has_compiler(), reason="no C compiler on this machine")
@pytest.mark.parametrize("version", VERSIONS)
def test_one_wheel_serves(version: str, client_wheel: Path, tmp_path: Path) -> None:
    python = other_python(version)
    if python is None or sys.version_info[:2] >= tuple(map(int, version.split("."))):
        pytest.skip(f"no CPython {version} here, or it is not later than the one that built the wheel")
    run(python, "-m", "venv", "--without-pip", tmp_path / "environment", cwd=tmp_path)
    other = tmp_path / "environment/bin/python"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", other, "install", "--quiet")
    run(*pip, "--only-binary=:all:", client_wheel, cwd=tmp_path)
    batch = pack([prediction(request_id=b"x" * 16)] * 300).hex()
    assert run(other, "-I", "-W", "error", "-c", PROGRAM, batch, cwd=tmp_path).startswith(f"{version} c C, SHA-256 by")
