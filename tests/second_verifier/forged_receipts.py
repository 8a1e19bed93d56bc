"""Lineage receipts with something changed at random, as well as one can who has the log and the ledger's key."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

from lineage_ledger.errors import LineageError
from lineage_ledger.formats import admin, merkle
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.receipt import Receipt
from lineage_ledger.formats.seal import parse_seal, signed_bytes
from lineage_ledger.v1 import entry_pb2
from tests.second_verifier.differential import NUMBERS, another_field
from tests.trace.graphs import Demo
from tests.trace.small_ledger import ORIGIN, START_NS, Leaves, seeded_key


class Forger:
    """Changes a copy of a ledger's entries, or which of them are in the receipt, and makes all proofs anew."""

    def __init__(self, it: Demo, good: Receipt, choice: random.Random) -> None:
        self.it = it
        self.good = good
        self.choice = choice
        self.entries = list(it.ledger.entries)
        self.indexes = set(good.entries)
        self.prediction_id = good.prediction_id
        self.opening = it.server.first_seal_index

    def forged(self) -> bytes:
        """The receipt after one or two changes."""
        changes: list[Callable[[], None]] = [
            self.leave_out, self.put_in, self.replace, self.reseal, self.end_key, self.other_block, self.other_id,
            self.other_genesis, self.other_registration, self.other_opening, self.nothing,
        ]  # fmt: skip
        for _ in range(self.choice.choice([1, 1, 2])):
            self.choice.choice(changes)()
        receipt = self._receipt()
        return self._disturbed(receipt).encode() if self.choice.random() < 0.3 else receipt.encode()

    def receipt(self) -> bytes:
        """The receipt as it is, with proofs that are right."""
        return self._receipt().encode()

    def nothing(self) -> None:
        """So that some are right."""

    def _pick(self) -> int:
        return self.choice.choice(sorted(self.indexes))

    def other_opening(self) -> None:
        """Another seal stands without its batch."""
        self.opening = self.choice.choice([self.it.trainer.first_seal_index, *self.good.batches])
        self.indexes.add(self.opening)
        if self.choice.random() < 0.5:
            self.indexes.discard(self.it.server.first_seal_index)

    def leave_out(self) -> None:
        self.indexes.discard(self._pick())

    def put_in(self) -> None:
        self.indexes.add(self.choice.randrange(len(self.entries)))

    def replace(self) -> None:
        self.entries[self._pick()] = self.entries[self.choice.choice([self._pick(), 1, 2, 3, len(self.entries) - 1])]

    def reseal(self) -> None:
        """Another seal in the place of one, signed by the producer or by somebody else."""
        index = self.choice.choice(sorted({*self.good.batches, self.opening}))
        parsed = parse_seal(self.it.ledger.entries[index])
        body = entry_pb2.SealBody.FromString(parsed.body_bytes)
        chain = next(each for each in (self.it.server, self.it.trainer) if each.key.public_key == body.public_key)
        try:
            another_field(self.choice)(body)
            data = body.SerializeToString()
        except ValueError:
            return
        key = chain.key if self.choice.random() < 0.8 else seeded_key("somebody")
        seal = entry_pb2.Seal(body=data, signature=key.sign(signed_bytes(ORIGIN, data)))
        self.entries[index] = entry_pb2.Entry(seal=seal).SerializeToString()

    def end_key(self) -> None:
        """A retirement or compromise, where a block was or at the end, once or twice."""
        key = self.choice.choice([self.it.server, self.it.trainer]).key.public_key
        signer = self.it.ledger.admin_key if self.choice.random() < 0.8 else seeded_key("somebody")
        for _ in range(self.choice.choice([1, 1, 2])):
            if self.choice.random() < 0.5:
                last_block = self.choice.choice([1, 4, 5, 6])
                entry = admin.build_retirement(
                    ORIGIN, public_key=key, last_block=last_block, time_unix_ns=START_NS, admin_key=signer
                )
            else:
                entry = admin.build_compromise(
                    ORIGIN, public_key=key, suspect_since_unix_ns=START_NS, time_unix_ns=START_NS, admin_key=signer
                )
            blocks = [
                index for index, each in enumerate(self.entries) if each[0] >> 3 == 9 and index not in self.indexes
            ]
            index = self.choice.choice([1, *blocks])
            self.entries[index] = entry
            self.indexes.add(index)

    def other_block(self) -> None:
        index = next(index for index, entry in self.good.entries.items() if entry[0] >> 3 == 9)
        block = entry_pb2.Block(
            number=self.choice.choice(NUMBERS), time_unix_ns=self.choice.choice(NUMBERS), previous_block_hash=bytes(32)
        )
        self.entries[index] = entry_pb2.Entry(block=block).SerializeToString()

    def other_id(self) -> None:
        self.prediction_id = self.choice.choice(
            [
                self.it.predictions[8],
                self.prediction_id._replace(number=self.prediction_id.number + 1),
                self.prediction_id._replace(chain_id=self.it.trainer.chain_id),
                self.prediction_id._replace(input_prefix=self.choice.randbytes(4)),
            ]
        )

    def other_genesis(self) -> None:
        genesis = entry_pb2.Entry.FromString(self.entries[0])
        field = self.choice.randrange(4)
        if field == 0:
            genesis.genesis.origin += "x"
        elif field == 1:
            genesis.genesis.ledger_public_key = seeded_key("somebody").public_key
        elif field == 2:
            genesis.genesis.admin_public_keys[:] = [seeded_key("somebody").public_key]
        else:
            genesis.genesis.time_unix_ns += 1
        self.entries[0] = genesis.SerializeToString()

    def other_registration(self) -> None:
        chain = self.choice.choice([self.it.server, self.it.trainer])

        def key(right: SigningKey) -> SigningKey:
            return right if self.choice.random() < 0.6 else seeded_key("somebody")

        signer = key(chain.key)
        self.entries[chain.registered_index] = admin.build_registration(
            ORIGIN,
            public_key=chain.key.public_key,
            name="another name",
            possession_signature=admin.prove_possession(ORIGIN, signer),
            time_unix_ns=START_NS,
            admin_key=key(self.it.ledger.admin_key),
        )

    def _receipt(self) -> Receipt:
        leaves = [merkle.leaf_hash(entry) for entry in self.entries]
        indexes = sorted(self.indexes)
        seals = [index for index in indexes if self.entries[index][0] >> 3 == 2 and index != self.opening]
        batches = {index: self._batch(index, leaves) for index in seals}
        checkpoint = Checkpoint(ORIGIN, len(leaves), merkle.root_of(len(leaves), Leaves(leaves)))
        return Receipt(
            self.prediction_id,
            {index: self.entries[index] for index in indexes},
            batches,
            tuple(merkle.multiproof(indexes, len(leaves), Leaves(leaves))) if indexes else (),
            checkpoint.sign(self.it.ledger.signer),
        )

    def _batch(self, index: int, leaves: list[bytes]) -> tuple[bytes, ...]:
        try:
            count = parse_seal(self.entries[index]).body.count
        except LineageError:
            return ()
        first = index - count
        places = [each - first for each in sorted(self.indexes) if first <= each < index]
        if first < 0 or not places:
            return ()
        return tuple(merkle.multiproof(places, count, Leaves(leaves[first:index])))

    def _disturbed(self, receipt: Receipt) -> Receipt:
        """With another part in the place of one."""
        if not receipt.batches:
            return receipt
        index = self.choice.choice(sorted(receipt.batches))
        proof = receipt.batches[index]
        return self.choice.choice(
            [
                dataclasses.replace(receipt, tree=receipt.tree[:-1]),
                dataclasses.replace(receipt, tree=(*receipt.tree, bytes(32))),
                dataclasses.replace(receipt, batches={**receipt.batches, index: (*proof, bytes(32))}),
                dataclasses.replace(receipt, batches={**receipt.batches, index: proof[1:]}),
                dataclasses.replace(receipt, batches={**receipt.batches, index + 1: proof}),
                dataclasses.replace(receipt, checkpoint=self.good.checkpoint),
            ]
        )
