"""Who sealed an entry: the seal is in the tree, its signature checks, and the batch before it is what it signed."""

from __future__ import annotations

from lineage_ledger import kernel
from lineage_ledger.client import Client
from lineage_ledger.errors import VerificationError
from lineage_ledger.formats import seal
from lineage_ledger.trace import SealedEntry


class SealReader:
    """Reads seals with their batches, each once."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._seals: dict[int, seal.ParsedSeal] = {}

    def sealed(self, index: int, entry: bytes, seal_index: int) -> SealedEntry:
        """`entry`, which was proven to be at `index`, with the seal that closes its batch.

        Raises `VerificationError` if the seal at `seal_index` is not that one, and `RpcError`.
        """
        if seal_index not in self._seals:
            self._seals[seal_index] = self._read(seal_index)
        found = SealedEntry(index, entry, seal_index, self._seals[seal_index])
        if not 0 <= found.place < found.seal.body.count:
            raise VerificationError(f"the seal at index {seal_index} does not close entry {index}, as the server says")
        return found

    def _read(self, seal_index: int) -> seal.ParsedSeal:
        """The seal, checked by itself and against its batch, which the client proves to be what the tree holds."""
        parsed = seal.parse_seal(self._client.get_entry(seal_index).data)
        seal.check_seal(parsed, self._client.origin)
        hashes = b""
        if parsed.body.count:
            batch = self._client.stream_entries(seal_index - parsed.body.count, seal_index)
            hashes = b"".join(kernel.leaf_hashes(packed) for _, packed in batch)
        if kernel.tree_root(hashes) != parsed.body.root:
            raise VerificationError(f"the batch before index {seal_index} is not what its producer sealed")
        return parsed
