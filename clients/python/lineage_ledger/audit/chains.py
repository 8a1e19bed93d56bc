"""Seals in their chains, and the conflicts that end chains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from lineage_ledger.audit.damage import Damage
from lineage_ledger.audit.facts import ChainFacts
from lineage_ledger.audit.report import Finding
from lineage_ledger.formats import keys, merkle, seal
from lineage_ledger.formats.seal import ParsedSeal
from lineage_ledger.v1 import entry_pb2


class Chains:
    """Where each chain stands at the index that was come to."""

    def __init__(self, origin: str, damage: Damage, add: Callable[[Finding], None]) -> None:
        self._origin = origin
        self._damage = damage
        self._add = add
        self._chains: dict[bytes, ChainFacts] = {}
        self.wanted: dict[bytes, int] = {}
        """Leaf hashes of seals that conflicts say are in the log, with the conflict's index; still to be found."""

    def resume(self, chains: Sequence[ChainFacts]) -> None:
        """Go on from where these chains stand."""
        self._chains = {each.chain_id: replace(each) for each in chains}

    @property
    def chains(self) -> dict[bytes, ChainFacts]:
        """By chain id."""
        return self._chains

    def knows(self, chain_id: bytes) -> bool:
        """Whether the chain was opened."""
        return chain_id in self._chains

    def advance(self, index: int, parsed: ParsedSeal) -> ChainFacts:
        """The seal at `index` is the next one of its chain, or a finding; either way the chain goes on from it."""
        body = parsed.body
        chain = self._chains.get(body.chain_id)
        problem = self._problem(parsed, chain)
        if problem is not None:
            kind, found, expected = problem
            self._add(Finding.at_entry(index, kind, found, expected, chain=body.chain_id))
        if chain is None:
            chain = ChainFacts(body.chain_id, body.public_key, len(self._chains), index, index, b"", 0, 0)
            self._chains[body.chain_id] = chain
        chain.last_seal_index = index
        chain.last_seal_hash = parsed.entry_hash
        chain.next_sequence = body.batch_sequence + 1
        chain.next_number = seal.next_number(body)
        chain.closed = body.closing
        return chain

    def _problem(self, parsed: ParsedSeal, chain: ChainFacts | None) -> tuple[str, str, str] | None:
        """Kind of a finding, what was found and what was expected."""
        body = parsed.body
        if chain is not None and body.public_key != chain.public_key:
            return "chain_id_mismatch", f"signed by the key {body.public_key.hex()}", chain.public_key.hex()
        if chain is not None and (chain.closed or chain.conflict_index):
            how = f"by the conflict at index {chain.conflict_index}" if chain.conflict_index else "by its closing seal"
            return "chain_ended", f"one more seal in a chain that was ended {how}", ""
        if self._damage.explains(body.previous_seal_hash, chain.last_seal_index if chain is not None else -1):
            return None  # It follows a seal that cannot be read: from here on it can be checked again.
        expected = chain.next_sequence if chain is not None else 0
        if body.batch_sequence != expected:
            return "sequence_gap", f"batch sequence {body.batch_sequence}", str(expected)
        if chain is None:
            return None
        if body.previous_seal_hash != chain.last_seal_hash:
            return (
                "link_mismatch",
                f"names {body.previous_seal_hash.hex()} as the seal before it",
                f"{chain.last_seal_hash.hex()}, at index {chain.last_seal_index}",
            )
        if body.first_number != chain.next_number:
            return "number_mismatch", f"begins with number {body.first_number}", str(chain.next_number)
        return None

    def conflict(self, index: int, conflict: entry_pb2.Conflict) -> None:
        """A conflict entry: two seals of one key for one sequence of one chain, which it ends."""
        first, second = seal.parse_seal(conflict.first_seal), seal.parse_seal(conflict.second_seal)
        places = [(each.body.public_key, each.body.chain_id, each.body.batch_sequence) for each in (first, second)]
        if places[0] != places[1]:
            self._found(index, first, "the two seals are not of one key, one chain and one sequence")
        for name, each in (("first", first), ("second", second)):
            message = seal.signed_bytes(self._origin, each.body_bytes)
            if not keys.verify(each.body.public_key, message, each.signature):
                self._found(index, first, f"the signature of the {name} seal does not check")
        chain = self._chains.get(first.body.chain_id)
        if chain is None:
            if not self._damage.structural:
                self._found(index, first, "it is about a chain that is not in the log")
            return
        if chain.conflict_index:
            self._found(index, first, f"the chain was ended by the conflict at index {chain.conflict_index} already")
        entry_hash = merkle.leaf_hash(conflict.first_seal)
        if entry_hash != chain.last_seal_hash and not self._damage.explains(entry_hash, -1):
            self.wanted[entry_hash] = index
        chain.conflict_index = index

    def _found(self, index: int, parsed: ParsedSeal, found: str) -> None:
        self._add(Finding.at_entry(index, "conflict", found, chain=parsed.body.chain_id))

    def not_in_log(self, index: int) -> None:
        """The first seal of the conflict at `index` was looked for and is not there."""
        expected = "the first seal is the one in the log, byte for byte, at a lower index"
        self._add(Finding.at_entry(index, "conflict", "its first seal is not in the log", expected))
