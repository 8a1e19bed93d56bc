"""Which kernel is used, and that the façade gives its results names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from lineage_ledger import kernel
from tests.kernel.kernel_examples import KERNELS, SMALL, TIME, pack, prediction

PROGRAM = "from lineage_ledger import kernel; print(kernel.KERNEL, kernel.tree_root(b'').hex()[:8])"


def run(wish: str | None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "LINEAGE_KERNEL"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    if wish is not None:
        environment["LINEAGE_KERNEL"] = wish
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_python_on_demand() -> None:
    assert run("python").stdout == "python e3b0c442\n"


def test_the_best_there_is() -> None:
    expected = "c" if "c" in KERNELS else "python"
    assert run(None).stdout == run("").stdout == f"{expected} e3b0c442\n"


def test_c_on_demand() -> None:
    result = run("c")
    if "c" in KERNELS:
        assert result.stdout == "c e3b0c442\n"
    else:
        assert "the C kernel cannot be loaded" in result.stderr


def test_unknown_wish() -> None:
    result = run("rust")
    assert result.returncode
    assert "SettingsError: LINEAGE_KERNEL is 'rust'" in result.stderr


def test_built_where_it_can_be() -> None:
    """Installation leaves C out silently if it does not compile; this is where that is noticed."""
    if os.environ.get("LINEAGE_BUILD_KERNEL") == "python":
        pytest.skip("not wanted")
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if not shutil.which(compiler) or not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        pytest.skip("no compiler, or no headers of Python")
    assert "c" in KERNELS


def described(wish: str, unlearn: str = "") -> str:
    program = f"import sys; {unlearn}from lineage_ledger import kernel; print(kernel.describe())"
    environment = {**os.environ, "LINEAGE_KERNEL": wish, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout


def test_described_in_words() -> None:
    assert described("python") == "Python, SHA-256 by hashlib; LINEAGE_KERNEL asks for it\n"
    without = described("", "sys.modules['lineage_ledger._kernel'] = None; ")
    assert without == "Python, SHA-256 by hashlib; there is no C kernel to load\n"


@pytest.mark.skipif("c" not in KERNELS, reason="the C kernel was not built")
def test_which_sha256_is_said() -> None:
    has_instructions = KERNELS["c"]._use_sha_instructions(True)
    by = "the processor's instructions" if has_instructions else "portable code"
    assert described("c") == f"C, SHA-256 by {by}\n"
    assert KERNELS["c"].uses_sha_instructions() == has_instructions
    KERNELS["c"]._use_sha_instructions(False)
    try:
        assert not KERNELS["c"].uses_sha_instructions()
    finally:
        KERNELS["c"]._use_sha_instructions(True)


def test_named_results() -> None:
    batch = kernel.scan(pack([prediction(row=2), SMALL]))
    assert (batch.count, len(batch.leaf_hashes), batch.binding_counts) == (2, 64, (0, 1))
    assert (batch.earliest_start_time_unix_ns, batch.latest_start_time_unix_ns) == (TIME, TIME)
    assert batch.other_tags == b"\x4a"
    assert batch.others == ((1, len(pack([prediction()])) + 2, len(SMALL)),)
    assert kernel.leaf_hashes(pack([SMALL])) == kernel.scan(pack([SMALL])).leaf_hashes
    assert kernel.tile_roots(bytes(8192)) == kernel.tree_root(bytes(8192))
    assert kernel.merge_rows([kernel.request_id_rows([pack([prediction(request_id=b"x")])], 9).rows])[-1] == 9
