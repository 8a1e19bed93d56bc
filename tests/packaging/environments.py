"""Clean virtual environments and wheels for the tests of packaging; pip's own cache makes them cheap to repeat."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CLIENT_PROJECT = ROOT / "clients/python"
# What an installation or an earlier build left in the tree would end up in the next wheel, and hide what is missing.
BUILT = shutil.ignore_patterns(
    ".venv", ".git", ".cache", ".*_cache", "build", "dist", "*.egg-info", "*.so", "__pycache__"
)


def clean_environ(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's variables, without those that lead Python to packages elsewhere, or say how ours are built."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LINEAGE_"))} | dict(
        changes or {}
    )


def has_compiler() -> bool:
    command = (sysconfig.get_config_var("CC") or "cc").split()[0]
    return shutil.which(command) is not None


def run(*command: str | Path, cwd: Path, environ: Mapping[str, str] | None = None) -> str:
    """Standard output of a command that must succeed; AssertionError with all it printed if it does not."""
    finished = subprocess.run(command, cwd=cwd, env=clean_environ(environ), capture_output=True, text=True, check=False)
    assert finished.returncode == 0, f"{command}\n{finished.stdout}\n{finished.stderr}"
    return finished.stdout


def build_wheel(project: Path, out: Path, environ: Mapping[str, str] | None = None) -> Path:
    """The wheel of a copy of `project`, by way of its source distribution, made with the setuptools of this Python."""
    copy = out / "source"
    shutil.copytree(project, copy, ignore=BUILT, symlinks=True)
    build = (sys.executable, "-m", "build", "--no-isolation", "--outdir", out / "dist", copy)
    run(*build, cwd=out, environ=environ)
    (wheel,) = (out / "dist").glob("*.whl")
    return wheel


def make_environment(path: Path, *requirements: str | Path) -> Path:
    """A virtual environment that holds the requirements, from wheels only; returns its Python."""
    venv.create(path, with_pip=False, symlinks=True)
    python = path / "bin/python"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python, "install", "--quiet")
    run(*pip, "--only-binary=:all:", *requirements, cwd=path)
    return python
