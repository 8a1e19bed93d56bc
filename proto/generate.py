"""Generate `lineage_ledger.v1` from the .proto files beside this script.

The generator is old and pinned (requirements.txt beside this script): generated code refuses to import on runtimes
older than its generator, and a thin client lives in other people's environments. It gets a virtual environment of its
own under .cache/, so that nothing else has to agree with its age.

    python proto/generate.py            rewrite the committed code and generated.sha256
    python proto/generate.py --out DIR  write the code beneath DIR and touch nothing else

Needs the standard library only. Exit status 3: no Python here that the generator's wheels support.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROTO_DIR = Path(__file__).resolve().parent
ROOT = PROTO_DIR.parent
REQUIREMENTS = PROTO_DIR / "requirements.txt"
MANIFEST = PROTO_DIR / "generated.sha256"
PACKAGE = Path("lineage_ledger/v1")  # the proto path equals the import path: protoc writes imports after it
COMMITTED = ROOT / "clients/python" / PACKAGE
GENERATED_PATTERNS = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py")
SUPPORTED = ((3, 11), (3, 12))  # CPython versions that have a wheel of the pinned generator, both inclusive
NO_INTERPRETER = 3


def find_interpreter() -> str | None:
    """A Python that the generator has wheels for: this one, or another on PATH."""
    names = (sys.executable, *(f"python3.{minor}" for minor in range(SUPPORTED[1][1], SUPPORTED[0][1] - 1, -1)))
    probe = f"import sys; sys.exit(not {SUPPORTED[0]} <= sys.version_info[:2] <= {SUPPORTED[1]})"
    for name in names:
        path = shutil.which(name)
        if path and subprocess.run([path, "-c", probe], capture_output=True, check=False).returncode == 0:
            return path
    return None


def prepare_environment(interpreter: str) -> Path:
    """The Python of the generator's environment, built unless it is there already; returns its path."""
    name = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    environment = ROOT / ".cache" / f"proto-{name}"
    python = environment / "bin/python"
    complete = environment / "complete"  # an interrupted build leaves no such file and is done again
    if not complete.exists() or not python.exists():
        subprocess.run([interpreter, "-m", "venv", "--clear", environment], check=True)
        install = ["install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:", "--require-hashes"]
        subprocess.run([python, "-m", "pip", *install, "-r", REQUIREMENTS], check=True)
        complete.touch()
    return python


def generate(python: Path, out: Path) -> None:
    """Write the code of all .proto files beneath `out`."""
    out.mkdir(parents=True, exist_ok=True)
    sources = [path.relative_to(PROTO_DIR).as_posix() for path in sorted((PROTO_DIR / PACKAGE).glob("*.proto"))]
    outputs = [f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python")]
    command = [str(python), "-I", "-W", "ignore", "-m", "grpc_tools.protoc", "-I.", *outputs, *sources]
    subprocess.run(command, cwd=PROTO_DIR, check=True)


def generated_files(directory: Path) -> list[Path]:
    return sorted(path for pattern in GENERATED_PATTERNS for path in directory.glob(pattern))


def replace_committed(new: Path) -> None:
    """Make the committed code equal to `new`, files without a .proto any more included."""
    for path in generated_files(COMMITTED):
        path.unlink()
    for path in generated_files(new):
        shutil.copyfile(path, COMMITTED / path.name)


def write_manifest() -> None:
    """Digests of what went in and what came out, in the form of `sha256sum --check`, run from the root."""
    paths = [REQUIREMENTS, *sorted((PROTO_DIR / PACKAGE).glob("*.proto")), *generated_files(COMMITTED)]
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(ROOT).as_posix()}" for path in paths]
    MANIFEST.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description="Generate lineage_ledger.v1 from the .proto files.")
    parser.add_argument("--out", type=Path, help="write beneath this directory, and leave the committed code alone")
    out: Path | None = parser.parse_args().out
    interpreter = find_interpreter()
    if interpreter is None:
        oldest, newest = (".".join(map(str, version)) for version in SUPPORTED)
        print(f"the pinned generator needs Python {oldest} to {newest}; none is on PATH", file=sys.stderr)
        return NO_INTERPRETER
    python = prepare_environment(interpreter)
    if out is not None:
        generate(python, out.resolve())
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        generate(python, Path(scratch))
        replace_committed(Path(scratch) / PACKAGE)
    write_manifest()
    return 0


if __name__ == "__main__":
    sys.exit(main())
