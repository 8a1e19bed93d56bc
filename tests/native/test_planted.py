"""The sanitizers and the checks find what is planted in the kernel: one byte too many, or one wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.native import build, sanitize

pytestmark = [
    pytest.mark.long,  # each builds all of it
    pytest.mark.skipif(bool(build.can_sanitize()), reason=f"no sanitizers: {build.can_sanitize()}"),
]

ONE_NODE_TOO_FEW = ("_kernel_tree.h", "TILE_WIDTH / 2 * HASH_SIZE", "(TILE_WIDTH / 2 - 1) * HASH_SIZE")
PLANTED = {
    "room for a level of a tree": ONE_NODE_TOO_FEW,
    "an entry that claims too much": ("_kernel_entries.h", "e->size > left - LENGTH_SIZE", "e->size > left"),
    "a field cut off": ("_kernel_entries.h", "end - p < 34 + 9 || p[1] !=", "end - p < 34 || p[1] !="),
    "a batch that ends too late": ("_kernel_queue.h", "size > q->batch_bytes - b->size)", "size > q->batch_bytes)"),
    "a loss that is not told of": ("_kernel_queue.h", "last->end += count;", "last->end += 1;"),
    "half a length": ("_kernel_entries.h", " || left <= LENGTH_SIZE", ""),
    "a length packed too short": ("_kernel_packing.h", "(fields < 0x80 ? 1u : 2u)", "1u"),
    "a number cut off": ("_kernel_strict.h", "if (end - p < fixed)", "if (end - p < fixed - 1)"),
    "a key of a block hashed": ("_kernel_hmac.h", "if (size > BLOCK_SIZE)", "if (size > BLOCK_SIZE - 8)"),
    "sixteen, one bit aside": ("_kernel_sha256_many.h", "_mm512_slli_epi32(sizes, 3)", "_mm512_slli_epi32(sizes, 4)"),
    "padding in a block too few": ("_kernel_sha256.h", "rest < BLOCK_SIZE - 8", "rest <= BLOCK_SIZE - 8"),
}


def plant(out: Path, what: tuple[str, str, str]) -> Path:
    """A copy of the client's package in which one line is another."""
    name, line, other = what
    package = shutil.copytree(build.KERNEL, out / "planted", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    text = (package / name).read_text()
    assert text.count(line) == 1, f"{name} no longer says `{line}` once: plant something else here"
    (package / name).write_text(text.replace(line, other))
    return package


@pytest.mark.parametrize("bug", PLANTED)
def test_the_fuzzer_finds(bug: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if bug.startswith("sixteen") and "avx512bw" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("no AVX-512 here")
    assert sanitize.fuzz(tmp_path, 10_000, 1, plant(tmp_path, PLANTED[bug]))
    said = capfd.readouterr().err
    assert "AddressSanitizer" in said or "does not hold" in said
    assert "fuzz again " in said
    last = tmp_path / "last-input"
    with pytest.raises(RuntimeError, match=r"AddressSanitizer|does not hold"):
        build.run(tmp_path / "fuzz", "again", last)


def test_the_extension_is_under_sanitizers(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tests = "tests/kernel/test_kernel_trees.py::test_tree_root"
    assert sanitize.run_tests(tmp_path, tests, kernel=plant(tmp_path, ONE_NODE_TOO_FEW))
    assert "AddressSanitizer: stack-buffer-overflow" in capfd.readouterr().err


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert build.can_sanitize() == "gcc is not installed"
