"""An exported folder."""

from __future__ import annotations

import errno
import os
import stat
from functools import partial
from pathlib import Path

from lineage_ledger.sources.tiled import MissingFileError, TiledSource, UnusableFileError


class FolderReader:
    """Reads regular files below `root`. No symbolic link below it is followed: it could lead anywhere, or nowhere."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, path: str, max_bytes: int) -> bytes:
        """See `FileReader.read`."""
        try:
            descriptor = self._open(path)
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise MissingFileError(f"{self._root / path} is missing") from error
            if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
                raise UnusableFileError(f"{self._root / path} is no regular file below folders") from error
            raise
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise UnusableFileError(f"{self._root / path} is not a regular file")
        with os.fdopen(descriptor, "rb") as file:
            if status.st_size > max_bytes:
                raise UnusableFileError(f"{self._root / path} is longer than it can be, which is {max_bytes:,} bytes")
            content = file.read(status.st_size + 1)  # As much memory is taken as is asked for.
        if len(content) != status.st_size:
            raise UnusableFileError(f"{self._root / path} is not of the length that it said it has")
        return content

    def close(self) -> None:
        """See `FileReader.close`."""

    def _open(self, path: str) -> int:
        """A descriptor, for which no pipe holds us up; each folder on the way is opened from the one before."""
        *folders, name = path.split("/")
        parent = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for folder in folders:
                below = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
                os.close(parent)
                parent = below
            return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
        finally:
            os.close(parent)


def open_folder(root: Path, note: bytes | None = None) -> TiledSource:
    """The log in the folder `root`, under `note` or the checkpoint that is there. Raises `OSError`."""
    source = TiledSource(FolderReader(root), note)
    source.reopen = partial(open_folder, root, source.note)
    return source
