"""SHA-256 as it is compiled for this processor, held against hashlib."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.native import build

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build.build_vectors(tmp_path_factory.mktemp("vectors"))


def test_portable_code_and_instructions(program: Path, tmp_path: Path) -> None:
    count = build.write_vectors(tmp_path / "messages")
    features = Path("/proc/cpuinfo").read_text().split() if sys.platform == "linux" else []
    said = build.run(program, tmp_path / "messages").splitlines()
    assert said[0] == "portable" and said[-1] == f"{count} messages"
    assert ("instructions" in said) == ("sha_ni" in features or "sha2" in features)
    assert ("side by side" in said) == ("avx512bw" in features)
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
