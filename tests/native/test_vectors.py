"""SHA-256 as it is compiled for this processor, held against hashlib."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.kernel.kernel_examples import KERNELS
from tests.native import build

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build.build_vectors(tmp_path_factory.mktemp("vectors"))


def test_portable_code_and_instructions(program: Path, tmp_path: Path) -> None:
    count = build.write_vectors(tmp_path / "messages")
    expected = ["portable", "instructions"] if KERNELS["c"]._use_sha_instructions(True) else ["portable"]
    assert build.run(program, tmp_path / "messages").splitlines() == [*expected, f"{count} messages"]
    assert build.run(program, tmp_path / "messages", "portable").splitlines() == ["portable", f"{count} messages"]


@pytest.mark.parametrize("message", [0, 1, 57, 499])
def test_another_hash_is_noticed(program: Path, tmp_path: Path, message: int) -> None:
    build.write_vectors(tmp_path / "messages")
    vectors = bytearray((tmp_path / "messages").read_bytes())
    position = 0
    for _ in range(message):
        position += 4 + int.from_bytes(vectors[position : position + 4], "little") + 32
    size = int.from_bytes(vectors[position : position + 4], "little")
    vectors[position + 4 + size + 31] ^= 1
    (tmp_path / "messages").write_bytes(vectors)
    with pytest.raises(RuntimeError, match=f"a message of {size} bytes"):
        build.run(program, tmp_path / "messages")
