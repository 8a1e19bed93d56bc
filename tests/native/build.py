"""Compiles the kernel, and checks of its C functions, as no release is: under sanitizers, or for another processor."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
SOURCES: Final = Path(__file__).parent
KERNEL: Final = ROOT / "clients/python/lineage_ledger"
SANITIZERS: Final = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")

_COMMON: Final = ("-std=c11", "-D_POSIX_C_SOURCE=200809L", "-O2", "-g", "-fno-omit-frame-pointer")
_STRICT: Final = ("-Wall", "-Wextra", "-Werror", "-Wno-unused-function")


def can_sanitize(compiler: str = "gcc") -> str:
    """What is missing for a build with the sanitizers; "" if nothing is."""
    if not shutil.which(compiler):
        return f"{compiler} is not installed"
    missing = [name for name in ("libasan.so", "libubsan.so") if not Path(library(name)).is_absolute()]
    return f"{compiler} has no {' and no '.join(missing)}" if missing else ""


def library(name: str) -> str:
    """Where gcc finds one of its own libraries; the name itself if it does not."""
    return run("gcc", f"-print-file-name={name}").strip()


def build_fuzzer(
    out: Path, kernel: Path = KERNEL, compiler: str = "gcc", sanitizers: Sequence[str] = SANITIZERS
) -> Path:
    """checks.c under sanitizers, driven by fuzz.c."""
    objects = [out / "checks.o", out / "fuzz.o"]
    out.mkdir(parents=True, exist_ok=True)
    _write_tables(out / "strict_tables.h")
    checks = (*_COMMON, *_STRICT, *sanitizers, f"-I{kernel}", f"-I{out}", "-fsanitize-coverage=trace-pc")
    run(compiler, *checks, "-c", SOURCES / "checks.c", "-o", objects[0])
    run(compiler, *_COMMON, *_STRICT, "-c", SOURCES / "fuzz.c", "-o", objects[1])
    run(compiler, *sanitizers, *objects, "-o", out / "fuzz")
    return out / "fuzz"


def _write_tables(path: Path) -> None:
    from lineage_ledger.formats.strict_tables import TABLES

    path.write_text(f"static const uint8_t STRICT_TABLES[] = {{{','.join(map(str, TABLES))}}};\n")


def build_vectors(out: Path, compiler: str = "gcc", flags: Sequence[str] = ()) -> Path:
    """vectors.c, optimised as a release is."""
    out.mkdir(parents=True, exist_ok=True)
    run(compiler, *_COMMON, *_STRICT, *flags, f"-I{KERNEL}", SOURCES / "vectors.c", "-o", out / "vectors")
    return out / "vectors"


def build_package(out: Path, kernel: Path = KERNEL) -> Path:
    """The client with `kernel` as its package, its extensions under both sanitizers; the folder to put on the path."""
    project = out / "client"
    shutil.rmtree(project, ignore_errors=True)
    built = shutil.ignore_patterns("*.so", "__pycache__", "build", "*.egg-info", "lineage_ledger")
    shutil.copytree(KERNEL.parent, project, ignore=built)
    shutil.copytree(kernel, project / "lineage_ledger", ignore=built)
    flags = " ".join((*_COMMON, *_STRICT, *SANITIZERS))
    environ = {**os.environ, "CC": "gcc", "CFLAGS": flags, "LINEAGE_BUILD_KERNEL": "c"}
    run(sys.executable, "setup.py", "--quiet", "build_ext", "--inplace", cwd=project, env=environ)
    return project


def write_vectors(path: Path) -> int:
    """Messages of all lengths that differ to the kernel, with their hashes by hashlib; how many."""
    random = Random(1)
    sizes = [*range(300), *(random.randrange(3000) for _ in range(200)), 65_535, 65_536]
    with path.open("wb") as file:
        for size in sizes:
            message = random.randbytes(size)
            file.write(size.to_bytes(4, "little") + message + sha256(message).digest())
    return len(sizes)


def seeds(folder: Path) -> Iterator[Path]:
    """What the fuzzer begins with: packed entries, and the fields of predictions without what is around them."""
    from tests.fuzz.targets import seeds as corpus
    from tests.kernel.kernel_examples import pack

    folder.mkdir(parents=True, exist_ok=True)
    many = pack(b"\x12" + bytes(size % 7) for size in range(40))
    contents = corpus("packed") | {"many": many, "half-a-length": many + b"\0"}
    for name, entry in corpus("entry").items():
        contents[f"entry-{name}"] = entry
        if name.startswith("prediction"):
            contents[name] = entry[3 if entry[1] & 0x80 else 2 :]
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        yield folder / name


def run(*command: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Standard output of a command; RuntimeError with all that it printed if it fails."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout
