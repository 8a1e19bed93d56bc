"""The resources of a log as C2SP tlog-tiles v1.0.0 names them: checkpoint, tiles of hashes, bundles of entries.

A path has one spelling; every other one names nothing. What is given was verified under the published head.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from lineage_ledger.errors import MalformedError
from lineage_ledger.formats.merkle import HASH_SIZE
from lineage_ledger.formats.tiles import TILE_WIDTH, parse_bundle_path, parse_tile_path
from lineage_ledger_server.errors import IndexOutOfRangeError, NotFoundError
from lineage_ledger_server.reading.log_reader import LogReader
from lineage_ledger_server.static.published import PublishedLog

CHECKPOINT: Final = "checkpoint"
_BUNDLES: Final = "tile/entries/"


class Resource(NamedTuple):
    """What lies at a path."""

    body: bytes
    content_type: str
    changes: bool = False
    """Whether other bytes will lie there; those of a tile or a bundle, full or partial, are the same for ever."""
    partial: bool = False
    """Whether it is the start of a tile or a bundle, of use until it is full."""
    is_bundle: bool = False


def resource_at(path: str, log: PublishedLog) -> Resource:
    """The resource at `path`, without a slash before it.

    Raises NotFoundError for a path that names nothing, or nothing under the published head; and what LogReader's
    methods raise: then nothing is given.
    """
    if path == CHECKPOINT:
        return Resource(log.note(), "text/plain; charset=utf-8", changes=True)
    try:
        if path.startswith(_BUNDLES):
            number, width = parse_bundle_path(path)
            return bundle(log.reader, number, width)
        level, number, width = parse_tile_path(path)
        return tile(log.reader, level, number, width)
    except MalformedError as error:
        raise NotFoundError(str(error)) from None
    except IndexOutOfRangeError as error:
        raise NotFoundError(f"{path} is beyond the {error.size:,} entries published so far") from None


def tile(reader: LogReader, level: int, number: int, width: int) -> Resource:
    """The first `width` hashes of a tile, 32 bytes each. Raises NotFoundError if the tree has fewer."""
    hashes = reader.tile(level, number)
    if len(hashes) < width * HASH_SIZE:
        raise NotFoundError(
            f"tile {level}/{number} has {len(hashes) // HASH_SIZE} hashes under the published head, not {width}"
        )
    return Resource(hashes[: width * HASH_SIZE], "application/octet-stream", partial=width < TILE_WIDTH)


def bundle(reader: LogReader, number: int, width: int) -> Resource:
    """The first `width` entries of a bundle, packed. Raises IndexOutOfRangeError if there are fewer."""
    start = number * TILE_WIDTH
    body = b"".join(packed for _, _, packed in reader.packed_range(start, start + width))
    return Resource(body, "application/octet-stream", partial=width < TILE_WIDTH, is_bundle=True)
