"""Digests of files and folders on disk: the reading half of `formats.digest`.

The rule for links: a symbolic link to a file inside the folder counts as a file at the link's own path. A link that
leads out of the folder, to another folder or nowhere is refused, as is whatever is no file (a device, a pipe, a
socket): the digest would otherwise depend on what is not in the folder. Empty folders leave no trace.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from lineage_ledger.errors import LineageError
from lineage_ledger.formats.digest import ManifestFile, check_path, manifest, sha256_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lineage_ledger.v1 import entry_pb2

_CHUNK_BYTES: Final = 1 << 20


def _ignore(_: int) -> None:
    """What nobody watches."""


class FilesError(LineageError):
    """A file or folder that cannot be digested: it is unreadable, changes meanwhile, or is of a kind refused here."""


class Content(NamedTuple):
    """What a file or folder holds, ready to be recorded as an artifact."""

    digest: entry_pb2.Digest
    """SHA-256 of the file, or of the folder's manifest."""
    size_bytes: int
    """Size of the file, or of all files."""
    files: tuple[ManifestFile, ...]
    """A folder's files, ascending by the bytes of path; empty for a single file."""


def digest_path(path: str | os.PathLike[str], on_read: Callable[[int], object] = _ignore) -> Content:
    """Digest the file or the folder at `path`. Raises `FilesError`, or `MalformedError` for a hostile name.

    `on_read` is told how many bytes were read, piece by piece; so it is below.
    """
    return digest_folder(path, on_read) if Path(path).is_dir() else digest_file(path, on_read)


def digest_file(path: str | os.PathLike[str], on_read: Callable[[int], object] = _ignore) -> Content:
    """SHA-256 of one file's bytes, read in pieces. Raises `FilesError`."""
    sha256, size_bytes = _hash(Path(path), on_read)
    return Content(sha256_digest(sha256), size_bytes, ())


def digest_folder(path: str | os.PathLike[str], on_read: Callable[[int], object] = _ignore) -> Content:
    """SHA-256 of the manifest of all files below `path`.

    Raises `FilesError`, or `MalformedError` for a name that a manifest cannot hold and for a folder without files.
    """
    root = Path(path)
    try:
        real_root = root.resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise FilesError(f"{root}: cannot be read: {error}") from error
    files = []
    for file in _walk(real_root):
        relative = file.relative_to(real_root).as_posix()
        check_path(relative)
        sha256, size_bytes = _hash(_inside(file, real_root), on_read)
        files.append(ManifestFile(relative, sha256, size_bytes))
    files.sort(key=lambda file: file.path.encode())
    digest = hashlib.sha256(manifest(files)).digest()
    return Content(sha256_digest(digest), sum(file.size_bytes for file in files), tuple(files))


def _walk(root: Path) -> Iterator[Path]:
    """Everything below `root` but the folders themselves; links are not followed."""
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(folder / entry.name)
                    else:
                        yield folder / entry.name
        except OSError as error:
            raise FilesError(f"{folder}: cannot be read: {error.strerror}; a folder is digested whole") from error


def _inside(path: Path, root: Path) -> Path:
    """Where a link inside the folder leads; the path itself if it is none."""
    if not path.is_symlink():
        return path
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):
        raise FilesError(f"{path}: the link leads nowhere; remove it") from None
    if not target.is_relative_to(root):
        raise FilesError(f"{path}: the link leads out of the folder, to {target}; put the content in its place")
    return target


def _hash(path: Path, on_read: Callable[[int], object]) -> tuple[bytes, int]:
    """SHA-256 and size of a regular file that stays the same meanwhile."""
    try:
        # Without O_NONBLOCK, opening a pipe would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise FilesError(f"{path}: is neither a file nor a link to one inside the folder")
            sha256, buffer = hashlib.sha256(), bytearray(_CHUNK_BYTES)
            size_bytes = 0
            while length := file.readinto(buffer):
                sha256.update(memoryview(buffer)[:length])
                size_bytes += length
                on_read(length)
            after = os.fstat(descriptor)
    except OSError as error:
        raise FilesError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # U+0000, which no name has
        raise FilesError(f"{str(path)!r}: cannot be read: {error}") from error
    if size_bytes != before.st_size or _state(before) != _state(after):
        raise FilesError(f"{path}: changed while it was read; record it when it is complete")
    return sha256.digest(), size_bytes


def _state(status: os.stat_result) -> tuple[int, int, int]:
    """What changes with the content; the time of modification alone can be put back by whoever changed it."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
