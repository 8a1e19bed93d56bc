"""A checkpoint file for a history that takes hundreds of checkpoints a second: not each of them is worth a sync."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from lineage_ledger.checkpoint_file import CheckpointFile
from lineage_ledger.errors import HistoryError

_EVERY_S: Final = 1.0


class SparingMemory:
    """Goes to `file` at most once a second; in between, what it is told stays in this process (a history's `Memory`).

    Nor does the file get what is not published yet, for whoever else reads it would be shown less and take that for a
    rollback. A crash forgets the last second, and so holds the ledger to a slightly older checkpoint. For one history.
    """

    def __init__(self, file: CheckpointFile) -> None:
        self._file = file
        self._told: bytes | None = None
        self._published: bytes | None = None
        self._saved: bytes | None = None  # what the file held when it was last looked at
        self._is_due = True
        self._due_s = 0.0
        self._save_due_s = 0.0

    def __str__(self) -> str:
        return str(self._file)

    def locked(self) -> AbstractContextManager[None]:
        """Decides, for what is done within, whether it is time to go to the file. Raises `CheckpointFileError`."""
        now_s = time.monotonic()
        self._is_due = now_s >= self._due_s
        if not self._is_due:
            return nullcontext()
        self._due_s = now_s + _EVERY_S
        return self._file.locked()

    def read(self) -> bytes | None:
        """What the file holds if somebody else wrote it, else the newest. Raises `CheckpointFileError`, `ForkError`."""
        if self._is_due or self._told is None:
            signed = self._file.read()
            if signed != self._saved:
                self._told = self._saved = signed
        return self._told

    def write(self, signed: bytes) -> None:
        """Remember it; the file gets it when it is `published`."""
        self._told = signed

    def published(self) -> None:
        """What was told so far is published. Raises as `save` does."""
        self._published = self._told
        now_s = time.monotonic()
        if now_s >= self._save_due_s:
            self._save_due_s = now_s + _EVERY_S
            self.save()

    def refuse(self, error: HistoryError) -> None:
        """At once; and what comes next goes to the file, which may be marked now."""
        self._due_s = 0.0
        self._file.refuse(error)

    def save(self) -> None:
        """Write what the file does not have yet, unless somebody else wrote it meanwhile: that is to be linked first.

        Raises `CheckpointFileError`, `ForkError`.
        """
        if self._published is not None and self._published != self._saved:
            with self._file.locked():
                if self._file.read() == self._saved:
                    self._file.write(self._published)
                    self._saved = self._published
