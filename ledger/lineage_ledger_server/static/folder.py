"""The folder that a log is exported to: whole files in it or none, and what a run leaves that was cut off.

A file is written under a temporary name, synced, and renamed; so whatever name is there has all its bytes on disk. The
temporary names lie in a folder of their own, which is there while a run is under way: who finds it knows that the run
before was cut off.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lineage_ledger.formats.tiles import TILE_WIDTH
from lineage_ledger_server.errors import ExportError

_CHECKPOINT: Final = "checkpoint"
_TEMPORARY: Final = ".exporting"
_OURS: Final = frozenset({_CHECKPOINT, _TEMPORARY, "tile", "lost+found"})
_MAX_CHECKPOINT_BYTES: Final = 1_000_000
_FOLDER_MODE: Final = 0o755
_FILE_MODE: Final = 0o644
# A sync waits for the disk, and many wait together; a bundle has up to 16 MiB.
_WRITERS: Final = 8
_MAX_WAITING: Final = 16


class ExportFolder:
    """The folder at `path`; one process at a time writes to it. Use `writing`.

    Raises ExportError if it cannot be used, or holds things without a checkpoint that no export wrote.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files_written = 0
        self.bytes_written = 0
        self.files_removed = 0
        self._temporary = path / _TEMPORARY
        self._names = itertools.count()
        self._changed: set[Path] = set()
        self._known: set[Path] = set()
        self._writers = ThreadPoolExecutor(_WRITERS, thread_name_prefix="export")
        self._waiting: deque[Future[int]] = deque()

    @contextmanager
    def writing(self) -> Iterator[ExportFolder]:
        """Makes the folder if it is not there, and holds its lock. What was written counts only after `sync`."""
        try:
            self.path.mkdir(mode=_FOLDER_MODE, parents=True)
            self.path.chmod(_FOLDER_MODE)
        except FileExistsError:
            pass
        except OSError as error:
            raise ExportError(f"cannot make the folder {self.path}: {error.strerror}") from error
        with self._locked():
            try:
                self._refuse_other_contents()
                yield self
            except OSError as error:
                raise ExportError(
                    f"cannot write to {self.path}: {error}. What its checkpoint speaks of is there as before; put it "
                    "right and export again"
                ) from error
            finally:
                self._writers.shutdown(cancel_futures=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise ExportError(f"cannot open the folder {self.path}: {error.strerror}") from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ExportError(f"another process exports to {self.path}; wait until it is done") from None
            yield
        finally:
            os.close(descriptor)

    def _refuse_other_contents(self) -> None:
        if (self.path / _CHECKPOINT).exists():
            return
        others = sorted({path.name for path in self.path.iterdir()} - _OURS)
        if others:
            raise ExportError(
                f"{self.path} holds no exported log, but other things ({others[0]!r}, say): give the export a folder "
                "of its own, which is made if it is not there"
            )

    def checkpoint(self) -> bytes | None:
        """The folder's checkpoint as it stands there, None if there is none."""
        try:
            with (self.path / _CHECKPOINT).open("rb") as file:
                return file.read(_MAX_CHECKPOINT_BYTES + 1)
        except FileNotFoundError:
            return None

    @property
    def unfinished(self) -> bool:
        """Whether the run before was cut off."""
        return self._temporary.exists()

    def begin(self) -> None:
        """Before the first file is written."""
        if self.unfinished:
            shutil.rmtree(self._temporary)
        self._temporary.mkdir(mode=0o700)

    def write(self, name: str, content: bytes) -> None:
        """Write a file, soon; one that is there with this very content is left alone."""
        path = self.path / name
        self._make_folder(path.parent)
        while len(self._waiting) >= _MAX_WAITING:
            self._count(self._waiting.popleft())
        self._waiting.append(self._writers.submit(self._write, path, content))

    def _make_folder(self, folder: Path) -> None:
        if folder in self._known:
            return
        if folder != self.path:
            self._make_folder(folder.parent)
            try:
                folder.mkdir(mode=_FOLDER_MODE)
                folder.chmod(_FOLDER_MODE)
                self._changed.add(folder.parent)
            except FileExistsError:
                pass
        self._known.add(folder)

    def _write(self, path: Path, content: bytes) -> int:
        """Bytes written, 0 for a file that was there already."""
        if _has(path, content):
            return 0
        self._replace(path, content)
        return len(content)

    def _replace(self, path: Path, content: bytes) -> None:
        temporary = self._temporary / str(next(self._names))
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, _FILE_MODE)  # whatever the umask is: a web server shall read it
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
        self._changed.add(path.parent)

    def _count(self, written: Future[int]) -> None:
        size = written.result()
        self.files_written += bool(size)
        self.bytes_written += size

    def sync(self) -> None:
        """All that was written is on disk afterwards, names too."""
        while self._waiting:
            self._count(self._waiting.popleft())
        for folder in sorted(self._changed):
            _sync_folder(folder)
        self._changed.clear()

    def publish(self, note: bytes) -> None:
        """Put the checkpoint there, after everything that it speaks of."""
        self.sync()
        if not _has(self.path / _CHECKPOINT, note):
            self._replace(self.path / _CHECKPOINT, note)
            self.files_written += 1
            self.bytes_written += len(note)
            self.sync()

    def remove_partials(self, name: str) -> None:
        """Remove all partial ones of the full tile or bundle `name`."""
        partials = self.path / f"{name}.p"
        with os.scandir(partials) if partials.is_dir() else _nothing() as found:
            widths = [entry.name for entry in found if entry.name.isdecimal() and int(entry.name) < TILE_WIDTH]
        for width in widths:
            (partials / width).unlink()
            self.files_removed += 1
        if widths and not any(partials.iterdir()):
            partials.rmdir()

    def stale_partials(self) -> Iterator[str]:
        """Names of the full tiles and bundles beside which partial ones still lie; looks through the whole folder."""
        for folder, folders, files in os.walk(self.path / "tile"):
            full = set(files)
            for name in folders:
                if name.endswith(".p") and name.removesuffix(".p") in full:
                    yield (Path(folder) / name.removesuffix(".p")).relative_to(self.path).as_posix()

    def end(self) -> None:
        """After everything."""
        self._temporary.rmdir()


@contextmanager
def _nothing() -> Iterator[Iterator[os.DirEntry[str]]]:
    yield iter(())


def _has(path: Path, content: bytes) -> bool:
    """Whether the file is there with this content; its name being there, it was synced."""
    try:
        with path.open("rb") as file:
            return file.read(len(content) + 1) == content
    except FileNotFoundError:
        return False


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
