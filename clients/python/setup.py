"""What pyproject.toml cannot say: the C kernel is built where a compiler is at hand, and left out where none is.

LINEAGE_BUILD_KERNEL=c      fail without it (release wheels, so that a broken compiler is not a slow wheel)
LINEAGE_BUILD_KERNEL=python do not try
"""

from __future__ import annotations

import os
from pathlib import Path

from setuptools import Extension, setup

CHOICE = os.environ.get("LINEAGE_BUILD_KERNEL", "")
if CHOICE not in ("", "c", "python"):
    raise SystemExit(f"LINEAGE_BUILD_KERNEL={CHOICE!r}: use 'c', 'python', or leave it unset")

# One binary for every CPython from 3.11 on. -march=native is left out on purpose: wheels travel, and the kernel
# chooses its SHA-256 at run time.
KERNEL = Extension(
    "lineage_ledger._kernel",
    sources=["lineage_ledger/_kernel.c"],
    depends=[path.as_posix() for path in sorted(Path("lineage_ledger").glob("_kernel*.h"))],
    define_macros=[("Py_LIMITED_API", "0x030B0000")],
    py_limited_api=True,
    optional=CHOICE != "c",
)
EMIT = Extension(
    "lineage_ledger._kernel_emit",
    sources=[f"lineage_ledger/_kernel_{part}.c" for part in ("emit", "commit", "hot_path")],
    depends=KERNEL.depends,
    define_macros=KERNEL.define_macros,
    py_limited_api=True,
    optional=CHOICE != "c",
)

if CHOICE == "python":
    setup()
else:
    setup(ext_modules=[KERNEL, EMIT], options={"bdist_wheel": {"py_limited_api": "cp311"}})
