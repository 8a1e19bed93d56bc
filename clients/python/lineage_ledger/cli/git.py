"""What git says of a working tree: commit, branch, remote, and how the tree differs from the commit."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from lineage_ledger.errors import LineageError
from lineage_ledger.files import digest_file
from lineage_ledger.formats.digest import ManifestFile, manifest_digest, sha256_digest
from lineage_ledger.formats.statement import code_state
from lineage_ledger.v1 import entry_pb2

_TIMEOUT_S = 120
_DEFAULTS_OF_DIFF = (
    *("--no-color", "--no-ext-diff", "--no-textconv", "--no-relative", "--submodule=short", "-O/dev/null"),
    *("--src-prefix=a/", "--dst-prefix=b/", "--unified=3", "--inter-hunk-context=0"),
    *("--diff-algorithm=myers", "--indent-heuristic", "--find-renames"),
)
"""What `git diff` does unless a user's settings say otherwise, which would change its bytes."""


class GitError(LineageError):
    """A folder that git cannot tell about."""


@dataclass(frozen=True, slots=True)
class WorkingTree:
    """The files that git tracks, as they are in the folder now."""

    digest: entry_pb2.Digest
    """SHA-256 of the manifest of the tracked files; a link counts as a file that holds its target's path, as in git."""
    size_bytes: int
    code: entry_pb2.Code
    name: str
    """Name of the folder."""
    untracked: int
    """Files that are neither tracked nor ignored; they are in no digest."""


def read_working_tree(folder: Path) -> WorkingTree:
    """Read the checkout that `folder` is in. Raises `GitError`, or what `files.digest_file` raises."""
    root = Path(os.fsdecode(_git(folder, "rev-parse", "--show-toplevel").removesuffix(b"\n")))
    commit = _text(root, "rev-parse", "--verify", "HEAD^{commit}")
    diff = _git(root, "diff", "--binary", *_DEFAULTS_OF_DIFF, "HEAD")
    branch = _text(root, "rev-parse", "--abbrev-ref", "HEAD")
    files = [file for name in _names(root, "ls-files", "-z") for file in _digest(root, name)]
    return WorkingTree(
        digest=manifest_digest(files),
        size_bytes=sum(file.size_bytes for file in files),
        code=code_state(
            commit=f"{'sha1' if len(commit) == 40 else 'sha256'}:{commit}",
            repository=_remote(root),
            branch="" if branch == "HEAD" else branch,
            diff=sha256_digest(hashlib.sha256(diff).digest()) if diff else None,
        ),
        name=root.name,
        untracked=len(_names(root, "ls-files", "-z", "--others", "--exclude-standard")),
    )


def without_credentials(url: str) -> str:
    """A remote's address without the user and password that it may hold."""
    parts = urlsplit(url)
    if not parts.scheme or "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _digest(root: Path, name: bytes) -> list[ManifestFile]:
    """The tracked file, if it is there; none for a submodule, which the commit names."""
    path = root / os.fsdecode(name)
    if path.is_symlink():
        target = os.fsencode(path.readlink())
        return [ManifestFile(os.fsdecode(name), hashlib.sha256(target).digest(), len(target))]
    if not path.is_file():
        return []
    content = digest_file(path)
    return [ManifestFile(os.fsdecode(name), content.digest.value, content.size_bytes)]


def _remote(root: Path) -> str:
    try:
        return without_credentials(_text(root, "remote", "get-url", "origin"))
    except GitError:
        return ""


def _names(root: Path, *arguments: str) -> list[bytes]:
    return sorted(set(filter(None, _git(root, *arguments).split(b"\0"))))


def _text(folder: Path, *arguments: str) -> str:
    return _git(folder, *arguments).decode(errors="replace").strip()


def _git(folder: Path, *arguments: str) -> bytes:
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            check=False,
            timeout=_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"},
        )
    except FileNotFoundError:
        raise GitError("the command git is not installed; it tells the commit and the state of the tree") from None
    except subprocess.TimeoutExpired:
        raise GitError(f"git {arguments[0]} did not answer within {_TIMEOUT_S} s in {folder}") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().removeprefix("fatal: ")
        raise GitError(f"{folder}: git {arguments[0]} failed: {said}")
    return done.stdout
