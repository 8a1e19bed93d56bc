"""What pyproject.toml cannot say: the version, and the dependency on the client of that very version.

Both come from the client's `_version.py`, which MANIFEST.in puts into the source distribution too.
"""

from __future__ import annotations

import ast
from pathlib import Path

from setuptools import setup

VERSION_FILE = Path(__file__).parent / "clients/python/lineage_ledger/_version.py"


def read_version(path: Path) -> str:
    """The value of `__version__`, read without running or importing anything."""
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="__version__")], value=ast.Constant(value=str(version))):
                return version
    raise SystemExit(f"{path} does not assign a string to __version__")


version = read_version(VERSION_FILE)
setup(
    version=version,
    # Lower ends and the newest versions below the upper ends are tested together: tests/packaging/.
    install_requires=[
        f"lineage-ledger[cli]=={version}",
        "grpcio>=1.63.2,<2",
        "grpcio-health-checking>=1.63.2,<2",
        "grpcio-reflection>=1.63.2,<2",
        "lmdb>=3,<4",
        "protobuf>=5.26.1,<8",
        "pynacl>=1.5,<2",
        "starlette>=0.37,<2",
        "structlog>=24.1,<27",
        "urllib3>=2.2,<3",
        "uvicorn>=0.29,<1",
    ],
)
