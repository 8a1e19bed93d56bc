"""What an audit reads from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

BUNDLE_WIDTH = 256


class BundleSource(Protocol):
    """The bundles of a log: what a process needs that checks a part of them."""

    def bundle(self, number: int) -> tuple[bytes | None, bytes]:
        """Leaf hashes as stored, 32 bytes each, and packed entries; the last bundle may hold fewer than 256.

        The hashes are None where the source has no tiles. Raises `LineageError` for a bundle that is missing or
        unusable, which is a finding.
        """


Reopen: TypeAlias = Callable[[], BundleSource]
"""Opens the bundles of a log once more, in another process: it must pickle. What it opens is never closed."""


class LogSource(BundleSource, Protocol):
    """A log as it is stored, at one moment; nothing of it is trusted.

    A `LineageError` from `bundle` or `tile_hashes` says that the stored value is missing or unusable, which is a
    finding; any other exception ends the audit as one that could not be carried out.
    """

    @property
    def size(self) -> int:
        """Entries that are there; may be more than the checkpoint's, if they are not signed yet."""

    @property
    def has_tiles(self) -> bool:
        """Whether there are stored hashes. Without, entries, root and rules are checked, and the report says so."""

    @property
    def reopen(self) -> Reopen | None:
        """How other processes read the full bundles of this log; None: they cannot, and one process audits it."""

    @property
    def checkpoints(self) -> Sequence[tuple[str, bytes]]:
        """The checkpoints that the ledger keeps, signed notes, the newest first; each with what findings call it."""

    def tile_hashes(self, level: int, number: int, width: int) -> bytes:
        """The first `width` (1 to 256) hashes of the stored tile of `level` (1 and above), 32 bytes each.

        Not called where there are no tiles.
        """
