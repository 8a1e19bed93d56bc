"""A history's newest checkpoint in a file, so that the next run, and other processes, hold the ledger to it.

    NAME                             the signed note, replaced as a whole and synced
    NAME.new                         the next one while it is written; what a crash leaves of it means nothing
    NAME.lock                        held with flock while the file is read, compared and written
    NAME.evidence-<UTC time>/        of each refusal: what.txt, older.txt and newer.txt (signed notes), proof.txt
    NAME.fork                        what a fork was; while it is there, the ledger is refused

A fork stays refused until somebody has looked at the evidence and deleted NAME.fork; whoever then believes the other
history deletes NAME as well. All of it is public: the files have mode 0644.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from lineage_ledger.errors import CheckpointFileError, ForkError, HistoryError
from lineage_ledger.formats.note import MAX_NOTE_BYTES
from lineage_ledger.formats.text import encode_base64

MAX_EVIDENCE_FOLDERS: Final = 100
"""Kept for one file; what is refused beyond them is only told."""
_MODE: Final = 0o644
_MAX_MARK_BYTES: Final = 4_096


class CheckpointFile:
    """The file at `path`. Threads and processes may share it."""

    def __init__(self, path: Path | str) -> None:
        """Touches nothing yet."""
        self.path = Path(path).expanduser().resolve()
        self._mark = self._beside(".fork")

    def __str__(self) -> str:
        return str(self.path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else reads and writes within; not to be taken twice. Raises `CheckpointFileError`."""
        try:
            descriptor = os.open(self._beside(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
        except OSError as error:
            raise self._failed("lock", error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def read(self) -> bytes | None:
        """What the file holds, at most as much as a note may have; None if there is no file.

        Raises `CheckpointFileError`, and `ForkError` as long as the mark of a fork is there.
        """
        if self._mark.exists():
            raise self._marked()
        try:
            with self.path.open("rb") as file:
                return file.read(MAX_NOTE_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed("read", error) from error

    def write(self, signed: bytes) -> None:
        """Replace the file: whatever breaks off, it holds the old note or the new one. Needs the lock.

        Raises `CheckpointFileError`; then the file is as it was.
        """
        try:
            replace_file(self.path, signed)
        except OSError as error:
            raise self._failed("write", error) from error

    def refuse(self, error: HistoryError) -> None:
        """Keep the evidence, and mark the file if it is a fork. Failing that, the error says so: it must be told."""
        try:
            error.folder = self._kept(error)
            if _is_fork(error) and not self._mark.exists():
                name = error.folder.name if error.folder is not None else "-"
                _write(self._mark, f"{name}\n{error.args[0]}\n".encode()[:_MAX_MARK_BYTES])
                _sync_folder(self.path.parent)
        except OSError as problem:
            error.add_note(f"the evidence cannot be kept beside {self.path}: {problem.strerror}")

    def _kept(self, error: HistoryError) -> Path | None:
        """The folder with the evidence, which may have been kept before; None if there are too many."""
        notes = dict(zip(("older.txt", "newer.txt")[-len(error.evidence) :], error.evidence, strict=False))
        folders = sorted(self.path.parent.glob(f"{self.path.name}.evidence-*"))
        for folder in folders:
            said = _read(folder / "what.txt", _MAX_MARK_BYTES).startswith(f"{type(error).__name__} ".encode())
            if said and all(_read(folder / name, len(content) + 1) == content for name, content in notes.items()):
                return folder
        if len(folders) >= MAX_EVIDENCE_FOLDERS and not _is_fork(error):
            return None  # But nobody pushes a fork's evidence out with others': after it, all is refused unseen.
        now = datetime.now(UTC)
        folder = self._beside(f".evidence-{now:%Y%m%dT%H%M%S.%fZ}")
        folder.mkdir(mode=0o755)
        for name, content in notes.items():
            _write(folder / name, content)
        if error.proof:
            _write(folder / "proof.txt", "".join(f"{encode_base64(each)}\n" for each in error.proof).encode())
        _write(folder / "what.txt", f"{type(error).__name__} at {now:%Y-%m-%dT%H:%M:%SZ}\n{error.args[0]}\n".encode())
        _sync_folder(folder)
        _sync_folder(self.path.parent)
        return folder

    def _marked(self) -> ForkError:
        """The fork that was seen before, as far as it can be read again."""
        name, _, text = _read(self._mark, _MAX_MARK_BYTES).decode(errors="replace").partition("\n")
        is_kept = name.startswith(f"{self.path.name}.evidence-") and "/" not in name
        folder = self.path.parent / name if is_kept else None
        files = (folder / "older.txt", folder / "newer.txt") if folder is not None else ()
        error = ForkError(
            f"a fork was seen before, and nobody has looked since: {text.strip()}. Show the evidence to those who run "
            f"the ledger and to others who use it; delete {self._mark} to ask again",
            evidence=tuple(_read(file, MAX_NOTE_BYTES) for file in files),
        )
        error.folder = folder
        return error

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _failed(self, what: str, error: OSError) -> CheckpointFileError:
        return CheckpointFileError(
            f"cannot {what} the checkpoint file {self.path}: {error.strerror}; its folder must be there and writable"
        )


def replace_file(path: Path, content: bytes) -> None:
    """Put a file in place as a whole, synced, by way of NAME.new; one at a time may do so. Raises `OSError`.

    Where `path` is a link, the file that it leads to.
    """
    path = Path(os.path.realpath(path))
    new = path.with_name(f"{path.name}.new")
    _write(new, content)
    new.replace(path)
    _sync_folder(path.parent)


def _write(path: Path, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, _MODE), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_fork(error: HistoryError) -> bool:
    return isinstance(error, ForkError) and error.is_shown


def _read(path: Path, max_bytes: int) -> bytes:
    """Nothing where there is no such file."""
    try:
        with path.open("rb") as file:
            return file.read(max_bytes)
    except OSError:
        return b""
