"""Chain receipts of chains that went wrong in many ways, or disturbed by somebody who has the log and all its keys."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from contextlib import suppress

from lineage_ledger.errors import LineageError
from lineage_ledger.formats import admin, merkle, packed
from lineage_ledger.formats.chain_receipt import ChainReceipt
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.note import Signer
from lineage_ledger.formats.seal import parse_seal
from lineage_ledger.v1 import entry_pb2
from tests.second_verifier.differential import another_field
from tests.support.producer import Producer, a_prediction, registration
from tests.trace.small_ledger import ORIGIN, Leaves, seeded_key

T = 1_700_000_000_000_000_000
LEDGER, ADMIN, KEY, OTHER = (seeded_key(name) for name in ("ledger", "admin", "server", "somebody"))
SIGNER = Signer(ORIGIN, LEDGER)


class Forger:
    """A ledger with one chain to prove, and what its receipt is to hold; `forged` gives the receipt."""

    def __init__(self, choice: random.Random) -> None:
        self.choice = choice
        self.chain = Producer(ORIGIN, KEY, choice.randbytes(32))
        self.chain_id = self.chain.chain_id
        self.entries: list[bytes] = []
        self.indexes: set[int] = set()
        self.seals: list[int] = []
        self.blocks = 0
        self.first_sequence = 0

    # -- the ledger ------------------------------------------------------------------------------------------

    def grow(self, *, wrong: bool) -> None:
        """The chain, what is around it, and with `wrong` one thing that must not be."""
        steps = [self.a_batch] * self.choice.randint(1, 5)
        self._genesis()
        self._put(registration(ORIGIN, KEY, ADMIN))
        if self.choice.random() < 0.3:
            self._put(registration(ORIGIN, OTHER, ADMIN), here=False)
        self._seal(self.chain.batch())
        self.a_block()
        at = self.choice.randrange(len(steps)) if wrong else -1
        for place, step in enumerate(steps):
            if place == at:
                self.choice.choice(
                    [self.a_wrong_batch, self.an_end, self.a_conflict, self.a_closing, self.another_seal]
                )()
            step()
            if self.choice.random() < 0.5:
                self.a_block(here=False)
        if self.choice.random() < 0.3:
            self.a_closing()
        for step in (self.an_end, self.a_conflict, self.a_successor):
            if self.choice.random() < 0.3:
                step()
        self.a_block(here=self.seals[-1] > max(self._of_kind(9)))

    def _of_kind(self, kind: int) -> list[int]:
        return [index for index in self.indexes if self.entries[index][0] >> 3 == kind] or [-1]

    def _put(self, entry: bytes, *, here: bool = True) -> None:
        if here:
            self.indexes.add(len(self.entries))
        self.entries.append(entry)

    def _seal(self, batch: bytes, *, here: bool = True) -> None:
        *inside, seal = packed.split(batch)
        self.entries += inside
        if here:
            self.seals.append(len(self.entries))
        self._put(seal, here=here)

    def _genesis(self) -> None:
        genesis = entry_pb2.Genesis(
            format_version=1,
            origin=ORIGIN,
            ledger_public_key=LEDGER.public_key,
            admin_public_keys=[ADMIN.public_key],
            time_unix_ns=T,
        )
        self._put(entry_pb2.Entry(genesis=genesis).SerializeToString())

    def a_block(self, *, here: bool = False) -> None:
        self.blocks += 1
        block = entry_pb2.Block(number=self.blocks, time_unix_ns=T, previous_block_hash=bytes([1]) * 32)
        self._put(entry_pb2.Entry(block=block).SerializeToString(), here=here)

    def _predictions(self) -> list[bytes]:
        count = self.choice.choice([0, 1, 2, 7])
        return [a_prediction(place, start_time_unix_ns=T + place) for place in range(count)]

    def a_batch(self) -> None:
        entries = self._predictions()
        first = self.chain.number + self.choice.randrange(len(entries) + 1)
        with suppress(LineageError, ValueError):  # behind a batch that went too far
            self._seal(self.chain.batch(entries, [(first, 3)] if self.choice.random() < 0.3 else []))

    def a_wrong_batch(self) -> None:
        """That the chain goes on from as if it had been right."""
        entries = self._predictions()
        body = self.chain.body(entries)
        what = self.choice.randrange(7)
        if what == 0:
            body.first_number += self.choice.choice([1, 5])
        elif what == 1:
            body.batch_sequence += 1
        elif what == 2:
            body.previous_seal_hash = self.choice.randbytes(32)
        elif what == 3:
            body.count = len(entries) + self.choice.choice([1, 2, 30])
        elif what == 4:
            body.public_key = OTHER.public_key
        elif what == 5:
            body.closing = True
        else:
            another_field(self.choice)(body)
        key, self.chain.key = self.chain.key, OTHER if what == 4 else self.chain.key
        with suppress(LineageError, ValueError):
            self._seal(self.chain.seal(entries, body))
        self.chain.key = key

    def a_closing(self) -> None:
        with suppress(LineageError, ValueError):
            self._seal(self.chain.batch(closing=True))

    def another_seal(self) -> None:
        """Of another chain of the key, or of somebody's."""
        key = self.choice.choice([KEY, OTHER])
        self._seal_elsewhere(Producer(ORIGIN, key, self.choice.randbytes(32)).batch())

    def _seal_elsewhere(self, batch: bytes) -> None:
        *inside, seal = packed.split(batch)
        self.entries += inside
        self._put(seal)

    def an_end(self) -> None:
        """The key is retired, or declared compromised; now and then another key, or by nobody."""
        key = KEY if self.choice.random() < 0.9 else OTHER
        signer = ADMIN if self.choice.random() < 0.9 else OTHER
        if self.choice.random() < 0.5:
            last_block = self.blocks + self.choice.choice([0, 1, 2, 9])
            entry = admin.build_retirement(
                ORIGIN, public_key=key.public_key, last_block=last_block, time_unix_ns=T, admin_key=signer
            )
        else:
            entry = admin.build_compromise(
                ORIGIN, public_key=key.public_key, suspect_since_unix_ns=T, time_unix_ns=T, admin_key=signer
            )
        self._put(entry)

    def a_conflict(self) -> None:
        """Two contents for one place, mostly for one of the chain's."""
        key = KEY if self.choice.random() < 0.9 else OTHER
        first = self.entries[self.choice.choice(self.seals)]
        parsed = parse_seal(first)
        body = entry_pb2.SealBody.FromString(parsed.body_bytes)
        body.sealed_time_unix_ns += 1
        what = self.choice.randrange(8)
        if what == 0:
            body.batch_sequence += 1
        elif what == 1:
            body.chain_id = self.choice.randbytes(16)
        with suppress(LineageError):
            second = packed.split(Producer(ORIGIN, key).seal([], body))[0]
            if what == 2:
                first, second = second, first
            elif what == 3:
                first = _signed_by(OTHER, parsed.body_bytes)
            conflict = entry_pb2.Conflict(first_seal=first, second_seal=second)
            self._put(entry_pb2.Entry(conflict=conflict).SerializeToString())

    def a_successor(self) -> None:
        what = self.choice.randrange(8)
        successor = Producer(ORIGIN, OTHER if what == 0 else KEY, self.choice.randbytes(32))
        body = successor.body()
        body.predecessor.chain_id = self.choice.randbytes(16) if what == 1 else self.chain_id
        body.predecessor.next_number = self.chain.number
        if what == 2:
            body.ClearField("predecessor")
        if what == 3:
            successor.seal([], body)
            body = successor.body()
        self._seal_elsewhere(successor.seal([], body))

    # -- the receipt -----------------------------------------------------------------------------------------

    def forged(self) -> bytes:
        """The receipt, sometimes of a later part, sometimes with a part too many, too few or changed."""
        if len(self.seals) > 2 and self.choice.random() < 0.4:
            self.first_sequence = self.choice.randrange(1, len(self.seals))
            self.indexes -= set(self.seals[1 : self.first_sequence])
        if self.choice.random() < 0.4:
            changes: list[Callable[[], None]] = [
                self.leave_out,
                self.put_in,
                self.other_start,
                self.other_chain,
                self.swap,
            ]
            self.choice.choice(changes)()
        receipt = self._receipt()
        if self.choice.random() < 0.1:
            receipt = self._disturbed(receipt)
        data = receipt.encode()
        return data if self.choice.random() < 0.9 else self._rewritten(data)

    def leave_out(self) -> None:
        self.indexes.discard(self.choice.choice(sorted(self.indexes)))

    def put_in(self) -> None:
        self.indexes.add(self.choice.randrange(len(self.entries)))

    def other_start(self) -> None:
        self.first_sequence += self.choice.choice([1, 2])

    def other_chain(self) -> None:
        self.chain_id = self.choice.randbytes(16)

    def swap(self) -> None:
        one, other = (self.choice.choice(sorted(self.indexes)) for _ in range(2))
        self.entries[one], self.entries[other] = self.entries[other], self.entries[one]

    def _receipt(self) -> ChainReceipt:
        leaves = Leaves([merkle.leaf_hash(entry) for entry in self.entries])
        size, indexes = len(self.entries), sorted(self.indexes)
        return ChainReceipt(
            self.chain_id,
            self.first_sequence,
            {index: self.entries[index] for index in indexes},
            tuple(merkle.multiproof(indexes, size, leaves)),
            Checkpoint(ORIGIN, size, merkle.root_of(size, leaves)).sign(SIGNER),
        )

    def _disturbed(self, receipt: ChainReceipt) -> ChainReceipt:
        other = Checkpoint(ORIGIN, len(self.entries), self.choice.randbytes(32)).sign(SIGNER)
        return self.choice.choice(
            [
                dataclasses.replace(receipt, tree=receipt.tree[:-1]),
                dataclasses.replace(receipt, tree=(*receipt.tree, bytes(32))),
                dataclasses.replace(receipt, checkpoint=other),
            ]
        )

    def _rewritten(self, data: bytes) -> bytes:
        """The same said in another form, or a byte changed."""
        forms = [
            (b"entry 0 ", b"entry 00 "),
            (b"\nentry ", b"\nentry  "),
            (b"\ntree", b"\ntree "),
            (b"\ntree", b"\n\ntree"),
            (b"\n", b"\r\n"),
            (b"-", b"-0"),
            (b"\nchain ", b"\nprediction "),
            (b"=\n", b"\n"),
            (self.chain_id.hex().encode(), self.chain_id.hex().upper().encode()),
            (b"\n\n", b"\nbatch 3\n\n"),
            (b"chain-receipt/v1", b"chain-receipt/v2"),
        ]
        if self.choice.random() < 0.5:
            return data.replace(*self.choice.choice(forms), 1)
        at = self.choice.randrange(len(data))
        return data[:at] + bytes((data[at] ^ 1 << self.choice.randrange(8),)) + data[at + 1 :]


def _signed_by(key: SigningKey, body: bytes) -> bytes:
    signature = key.sign(b"lineage-ledger/seal/v1\n" + ORIGIN.encode() + b"\n" + body)
    return entry_pb2.Entry(seal=entry_pb2.Seal(body=body, signature=signature)).SerializeToString()
