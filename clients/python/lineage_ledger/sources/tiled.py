"""A log as C2SP tlog-tiles lays it out, whatever its files are read from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from lineage_ledger import kernel
from lineage_ledger.errors import LineageError, MalformedError, ProofError
from lineage_ledger.formats import merkle, tiles
from lineage_ledger.formats.merkle import HASH_SIZE
from lineage_ledger.formats.note import MAX_NOTE_BYTES
from lineage_ledger.formats.packed import LENGTH_BYTES
from lineage_ledger.formats.strict_rules import MAX_ENTRY_BYTES
from lineage_ledger.formats.tiles import TILE_WIDTH
from lineage_ledger.sources.bounds import RUN_BUNDLES, Absences, size_said
from lineage_ledger.sources.read_ahead import ReadAhead

CHECKPOINT_PATH = "checkpoint"
_MAX_TILE_BYTES = 2 * tiles.TILE_SIZE
"""What is read of a tile: of one that is somewhat too long the audit says how long it is."""


class MissingFileError(LineageError):
    """The log has no such file."""


class UnusableFileError(LineageError):
    """A file that cannot be what its name says."""


class FileReader(Protocol):
    """Reads the files of a log; any thread may call it."""

    def read(self, path: str, max_bytes: int) -> bytes:
        """The whole file at `path`, relative to the log's place.

        Raises `MissingFileError` if there is none, `UnusableFileError` if it is longer than `max_bytes` or no file,
        and `OSError` if it could not be read now.
        """

    def close(self) -> None:
        """Nothing more will be read."""


class TiledSource:
    """The `LogSource` over files, under the checkpoint that is there when it is opened, or `note` if that is given.

    The log may grow meanwhile: what is beyond that checkpoint is not looked at. With `threads` bundles are fetched
    ahead of their turn by as many; `in_runs`, not beyond the run of bundles that a process audits by itself. Raises
    `OSError` if there is no checkpoint to be read.
    """

    has_tiles = True
    reopen: Callable[[], TiledSource] | None = None

    def __init__(
        self, files: FileReader, note: bytes | None = None, *, threads: int = 0, in_runs: bool = False
    ) -> None:
        self._files = files
        self.note = read_checkpoint(files) if note is None else note
        self.checkpoints = [(CHECKPOINT_PATH, self.note)]
        self.size = size_said(self.note)
        self._tiles: dict[int, tuple[int, bytes]] = {}
        bundles = (self.size + TILE_WIDTH - 1) // TILE_WIDTH
        stride = RUN_BUNDLES if in_runs else None
        self._ahead = ReadAhead(self._fetch, bundles, _weight, threads, stride) if threads else None
        self._absences = Absences()

    def bundle(self, number: int) -> tuple[bytes, bytes]:
        """See `LogSource.bundle`. A missing tile of level 0 gives no hashes, so that its entries are still read."""
        try:
            found = self._fetch(number) if self._ahead is None else self._ahead.get(number)
        except LineageError:
            self._absences.missing()
            raise
        self._absences.found()
        return found

    def tile_hashes(self, level: int, number: int, width: int) -> bytes:
        """See `LogSource.tile_hashes`. The newest tile of each level is kept: each of its hashes may be asked for."""
        if level not in self._tiles or self._tiles[level][0] != number:
            stored = tiles.tile_width(level, number, self.size)
            if stored < width:
                raise MissingFileError(f"the tree of {self.size} entries has no such tile")
            content = self._tile(level, number, stored)
            if len(content) != stored * HASH_SIZE:
                raise UnusableFileError(f"is {len(content)} bytes, not {stored * HASH_SIZE}")
            self._tiles[level] = number, content
        return self._tiles[level][1][: width * HASH_SIZE]

    def read_hashes(self, coordinates: Sequence[tuple[int, int]]) -> list[bytes]:
        """As `merkle.HashReader` asks, from the stored tiles."""
        found = []
        for level, n in coordinates:
            tile, _ = tiles.hash_in_tile(level, n)
            found.append(tiles.hash_from_tile(self.tile_hashes(*tile), level, n))
        return found

    def consistency_proof(self, old_size: int) -> tuple[bytes, ...]:
        """What the tiles give to prove that the tree goes on from its first `old_size` entries; unchecked.

        Raises `ProofError` if it cannot be made of them, and `OSError`.
        """
        try:
            return tuple(merkle.consistency_proof(old_size, self.size, self))
        except (LineageError, ValueError) as error:
            raise ProofError(f"no proof can be made of the tiles: {error}") from error

    def close(self) -> None:
        """End what reads ahead."""
        if self._ahead is not None:
            self._ahead.close()
        self._files.close()

    def _fetch(self, number: int) -> tuple[bytes, bytes]:
        width = tiles.tile_width(0, number, self.size)
        try:
            hashes = self._tile(0, number, width)
        except LineageError:
            hashes = b""
        return hashes, self._bundle(number, width)

    def _tile(self, level: int, number: int, width: int) -> bytes:
        """A tile as it is, or as much of the full one, if it has become full since, as `width` says."""
        max_bytes = width * HASH_SIZE
        try:
            return self._files.read(tiles.tile_path(level, number, width), _MAX_TILE_BYTES)
        except MissingFileError:
            if width == TILE_WIDTH:
                raise
            return self._files.read(tiles.tile_path(level, number, TILE_WIDTH), tiles.TILE_SIZE)[:max_bytes]

    def _bundle(self, number: int, width: int) -> bytes:
        entry_bytes = LENGTH_BYTES + MAX_ENTRY_BYTES
        try:
            return self._files.read(tiles.bundle_path(number, width), width * entry_bytes)
        except MissingFileError:
            if width == TILE_WIDTH:
                raise
            packed = self._files.read(tiles.bundle_path(number, TILE_WIDTH), TILE_WIDTH * entry_bytes)
        try:
            return packed[: kernel.entry_offsets(packed, width, TILE_WIDTH)[0]]
        except (MalformedError, IndexError):
            return packed  # The audit says what is wrong with it.


def read_checkpoint(files: FileReader) -> bytes:
    """The checkpoint of a log, a signed note of at most 1,000,000 bytes. Raises `OSError` if there is none."""
    try:
        return files.read(CHECKPOINT_PATH, MAX_NOTE_BYTES)
    except LineageError as error:
        raise FileNotFoundError(f"no log is there: {error}") from error


def _weight(bundle: tuple[bytes, bytes]) -> int:
    return len(bundle[0]) + len(bundle[1])
