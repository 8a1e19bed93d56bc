"""Writes a log to a folder that any web server or object store can serve (C2SP tlog-tiles); again: what is new.

At each moment the folder holds all that its own checkpoint speaks of, and so verifies: tiles and bundles come first,
the checkpoint after them, and what it made superfluous goes last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lineage_ledger.errors import LineageError
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.tiles import TILE_WIDTH, Tile, bundle_path, tile_path, tiles_of
from lineage_ledger_server.errors import ExportError
from lineage_ledger_server.head import Head
from lineage_ledger_server.reading.log_reader import LogReader
from lineage_ledger_server.static.folder import ExportFolder
from lineage_ledger_server.static.published import PublishedLog
from lineage_ledger_server.static.resources import bundle, tile

Progress = Callable[[str, int, int], None]
"""Title, entries done, entries of all."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What a run did."""

    origin: str
    size: int
    """Entries under the folder's checkpoint now."""
    old_size: int
    """Before; 0 for a new folder."""
    files_written: int
    bytes_written: int
    files_removed: int
    seconds: float

    @property
    def entries_per_second(self) -> float:
        return (self.size - self.old_size) / self.seconds if self.seconds else 0.0


def export(log: PublishedLog, path: Path, progress: Progress | None = None) -> Exported:
    """Bring the folder at `path` to the published checkpoint of `log`.

    Raises ExportError if what the folder holds is not the start of this log; CorruptValueError for a stored value that
    is not what the tree says. The folder then verifies at its old checkpoint.
    """
    started_s = time.monotonic()
    note = log.note()
    head = Head.of_note(note)
    reader = log.reader_of(head)
    origin = Checkpoint.open(note, reader.ledger_keys()).origin
    with ExportFolder(path).writing() as folder:
        old = _old_checkpoint(folder, reader)
        old_size = old.size if old is not None else 0
        cut_off = folder.unfinished
        if cut_off or folder.checkpoint() != note:
            folder.begin()
            for name, content in _new_files(reader, head.size, old_size, progress):
                folder.write(name, content)
            folder.publish(note)
            for name in folder.stale_partials() if cut_off else _filled(head.size, old_size):
                folder.remove_partials(name)
            folder.end()
    return Exported(
        origin=origin,
        size=head.size,
        old_size=old_size,
        files_written=folder.files_written,
        bytes_written=folder.bytes_written,
        files_removed=folder.files_removed,
        seconds=time.monotonic() - started_s,
    )


def _old_checkpoint(folder: ExportFolder, reader: LogReader) -> Checkpoint | None:
    """What the folder holds, shown to be the start of the log."""
    note = folder.checkpoint()
    if note is None:
        return None
    head, keys = reader.head(), reader.ledger_keys()
    try:
        old = Checkpoint.open(note, keys)
    except LineageError as error:
        raise ExportError(
            f"the checkpoint in {folder.path} is not one that the ledger {keys.name} signed, whose key is "
            f"{keys.newest}: {error}. Nothing was changed; export to a new folder"
        ) from error
    there = f"{folder.path} holds {old.size} entries with the root {old.root.hex()}, signed by this ledger's key"
    if old.size > head.size:
        raise ExportError(
            f"{there}; the ledger has {head.size} with the root {head.root.hex()}. Was it restored from an old copy? "
            "Nothing was changed; keep the folder as evidence"
        )
    root = reader.root(old.size)
    if root != old.root:
        raise ExportError(
            f"{there}; the first {old.size} entries of the ledger have the root {root.hex()}. These are two histories "
            "of one ledger. Nothing was changed; keep the folder as evidence"
        )
    return old


def _new_files(reader: LogReader, size: int, old_size: int, progress: Progress | None) -> Iterator[tuple[str, bytes]]:
    """Path and content of all that the tree of `size` has beyond that of `old_size`."""
    done = 0
    for level, number, width in tiles_of(size, old_size):
        if level == 0:
            yield bundle_path(number, width), bundle(reader, number, width).body
            done = min(size, (number + 1) * TILE_WIDTH) - old_size
            if progress is not None:
                progress("exporting", done, size - old_size)
        yield tile_path(level, number, width), tile(reader, level, number, width).body


def _filled(size: int, old_size: int) -> Iterator[str]:
    """Names of the full tiles and bundles that were partial in the tree of `old_size`."""
    for level, number, width in _edge(old_size):
        if ((number + 1) * TILE_WIDTH) << 8 * level <= size and width:
            yield tile_path(level, number, TILE_WIDTH)
            if level == 0:
                yield bundle_path(number, TILE_WIDTH)


def _edge(size: int) -> Iterator[Tile]:
    """The partial tiles of a tree, one a level at most."""
    level, count = 0, size
    while count:
        number, width = divmod(count, TILE_WIDTH)
        yield Tile(level, number, width)
        level, count = level + 1, count >> 8
