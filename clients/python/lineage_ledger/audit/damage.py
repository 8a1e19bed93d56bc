"""Entries whose content is not known: changed in the store, unreadable, or refused.

What such an entry said is missing later on: the next seal of a chain seems to leave a gap, a key seems not to be
registered. Those are no findings of their own, and here is what tells them from real ones.
"""

from __future__ import annotations

# More is not needed to tell what follows from damage; it bounds what a ruined ledger can take in memory.
_MAX_KEPT = 100_000


class Damage:
    """Leaf hashes of entries whose content is not known, and where they may have been more than a producer's entry."""

    def __init__(self) -> None:
        self._hashes: set[bytes] = set()
        self.structural: list[int] = []
        """Indexes of those that no seal counts as entries of its batch: a seal or the ledger's own is missing there."""
        self.last_hidden_index = -1
        """Of the newest entry of which not even the hash is known; -1: none."""

    def note(self, index: int, leaf_hash: bytes | None) -> None:
        """The entry at `index`, with this hash if it is known, cannot be used."""
        if leaf_hash is None:
            self.last_hidden_index = index
        elif len(self._hashes) < _MAX_KEPT:
            self._hashes.add(leaf_hash)

    def note_structural(self, indexes: list[int]) -> None:
        """These entries are in no batch."""
        self.structural.extend(indexes[: _MAX_KEPT - len(self.structural)])

    def explains(self, leaf_hash: bytes, since: int) -> bool:
        """Whether a link to this hash may lead to an entry that cannot be used, of index above `since`."""
        return leaf_hash in self._hashes or self.last_hidden_index > since
