"""The kernel's C functions as a cross compiler makes them for Armv8, run by qemu: emulated, so nothing is timed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.native import build

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
MISSING = [program for program in (COMPILER, EMULATOR) if shutil.which(program) is None]

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; make arm fails then"),
]


def test_sha256_by_instructions(tmp_path: Path) -> None:
    count = build.write_vectors(tmp_path / "messages")
    program = build.build_vectors(tmp_path, COMPILER, ["-static"])
    said = build.run(EMULATOR, program, tmp_path / "messages").splitlines()
    assert said == ["portable", "instructions", f"{count} messages"]


def test_the_instructions_are_in_functions_that_are_chosen(tmp_path: Path) -> None:
    """Nowhere else: a processor without them must not meet one."""
    program = build.build_vectors(tmp_path, COMPILER, ["-static"])
    listing = build.run("aarch64-linux-gnu-objdump", "--disassemble", program)
    functions = re.split(r"\n[0-9a-f]+ <([^>]+)>:\n", listing)
    with_them = {name for name, code in zip(functions[1::2], functions[2::2]) if re.search(r"\tsha256", code)}
    assert {re.sub(r"\..*", "", name) for name in with_them} == {"compress_arm", "compress_two_arm"}


def test_what_must_hold_of_any_bytes(tmp_path: Path) -> None:
    # Undefined behaviour ends the program: qemu has no address sanitizer, and this needs no library.
    trapping = ("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error", "-static")
    fuzzer = build.build_fuzzer(tmp_path, compiler=COMPILER, sanitizers=trapping)
    said = build.run(EMULATOR, fuzzer, "800", "1", tmp_path / "last-input", *build.seeds(tmp_path / "seeds"))
    assert said.startswith("800 inputs")
