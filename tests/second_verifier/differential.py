"""Ledgers and receipts, each with one thing changed at random by somebody who may hold the ledger's key."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from lineage_ledger.formats import merkle
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.seal import signed_bytes
from lineage_ledger.kernel import tree_root
from lineage_ledger.v1 import entry_pb2
from tests.audit.ledger_builder import Builder, Chain, Edit, begun, no_edit, predictions

NUMBERS = (0, 1, 2, 3, 255, 1 << 31, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)


def another_field(choice: random.Random) -> Edit:
    """A seal that says one thing otherwise, signed by its producer."""

    def edit(body: entry_pb2.SealBody) -> None:
        field: Any = choice.choice(body.DESCRIPTOR.fields)
        value = getattr(body, field.name)
        if field.name in ("bindings", "lost"):
            if value and choice.random() < 0.5:
                del value[choice.randrange(len(value))]
            elif field.name == "lost":
                body.lost.add(first=choice.choice((*NUMBERS, body.first_number)), count=choice.choice(NUMBERS))
            else:
                body.bindings.add(deployment_hash=choice.randbytes(32), count=choice.choice(NUMBERS[:4]))
        elif field.name == "closing":
            body.closing = not body.closing
        elif field.name == "predecessor":
            body.predecessor.chain_id = choice.randbytes(16)
        elif isinstance(value, bytes):
            changed = choice.choice([b"", bytes(len(value)), choice.randbytes(len(value) or 32)])
            setattr(body, field.name, changed)
        else:
            most = 1 << (32 if field.cpp_type == field.CPPTYPE_UINT32 else 64)
            setattr(body, field.name, choice.choice([number for number in (*NUMBERS, value + 1) if number < most]))

    return edit


class _Growth:
    """What is mostly right, and otherwise where a step is told to be `wrong` (even then it may turn out right)."""

    def __init__(self, choice: random.Random) -> None:
        self.choice = choice
        self.builder, key = begun(choice.randrange(1 << 30))
        self.keys = [key]
        self.chains: list[Chain] = []
        self.seals: list[tuple[Chain, int]] = []
        self.open_chain(wrong=False)

    def batch(self, *, wrong: bool) -> None:
        if not self.chains:
            return
        choice, builder, chain = self.choice, self.builder, self.choice.choice(self.chains)
        entries = predictions(builder, choice.randrange(4), choice.randrange(1, 3))
        if choice.random() < 0.3:
            entries.insert(choice.randrange(len(entries) + 1), builder.artifact())
        if choice.random() < 0.2:
            entries.append(
                builder.attestation(choice.choice(self.keys), signer=choice.choice(self.keys) if wrong else None)
            )
        lost = (
            [(chain.number + choice.randrange(len(entries) + 1), choice.choice([1, 5]))]
            if choice.random() < 0.3
            else []
        )
        closing = choice.random() < 0.1
        edit = another_field(choice) if wrong and choice.random() < 0.8 else no_edit
        signer = choice.choice(self.keys) if wrong else None
        index = builder.batch(chain, entries, lost=lost, closing=closing, edit=edit, signing_key=signer)
        self.seals.append((chain, index))
        if closing and choice.random() < 0.9:
            self.chains.remove(chain)

    def open_chain(self, *, wrong: bool) -> None:
        edit = another_field(self.choice) if wrong else no_edit
        self.chains.append(self.builder.open_chain(self.choice.choice(self.keys), edit))

    def register(self, *, wrong: bool) -> None:
        again = wrong and self.choice.random() < 0.5
        key = self.choice.choice(self.keys) if again else self.builder.new_key()
        self.builder.register(key, admin=self.builder.new_key() if wrong and not again else None)
        self.keys.append(key)

    def _end(self, key: SigningKey, *, wrong: bool) -> None:
        if wrong or len(self.keys) == 1:
            return
        self.keys.remove(key)
        self.chains = [chain for chain in self.chains if chain.key is not key]

    def retire(self, *, wrong: bool) -> None:
        key = self.choice.choice(self.keys)
        self.builder.retire(key, self.builder.block_number + self.choice.randrange(1, 3))
        self._end(key, wrong=wrong)

    def compromise(self, *, wrong: bool) -> None:
        key = self.builder.new_key() if wrong and self.choice.random() < 0.3 else self.choice.choice(self.keys)
        self.builder.compromise(key, admin=self.keys[0] if wrong and self.choice.random() < 0.3 else None)
        if key in self.keys:
            self._end(key, wrong=wrong)

    def conflict(self, *, wrong: bool) -> None:
        if not self.seals:
            return
        chain, index = self.choice.choice(self.seals)
        first = self.builder.entries[index]
        body = entry_pb2.SealBody.FromString(entry_pb2.Entry.FromString(first).seal.body)
        if wrong:
            another_field(self.choice)(body)
        else:
            body.sealed_time_unix_ns += 1
        data = body.SerializeToString()
        signature = (self.choice.choice(self.keys) if wrong else chain.key).sign(
            signed_bytes(self.builder.origin, data)
        )
        second = entry_pb2.Entry(seal=entry_pb2.Seal(body=data, signature=signature)).SerializeToString()
        turned = wrong and self.choice.random() < 0.3
        self.builder.conflict(*((second, first) if turned else (first, second)))
        self.chains = [each for each in self.chains if wrong or each is not chain]
        self.seals = [each for each in self.seals if wrong or each[0] is not chain]

    def block(self, *, wrong: bool) -> None:
        changes = [
            {"number": 1},
            {"number": 9},
            {"link": bytes(32)},
            {"time_unix_ns": 1},
            {"time_unix_ns": NUMBERS[-1]},
        ]
        self.builder.block(**self.choice.choice(changes) if wrong else {})  # type: ignore[arg-type]  # by name

    def removal(self, *, wrong: bool) -> None:
        self.builder.removal(admin=self.keys[0] if wrong else None)

    def stray(self, *, wrong: bool) -> None:
        """What stands in no batch, or is of no kind that there is."""
        builder = self.builder
        if wrong:
            builder.append(
                self.choice.choice([builder.prediction(), builder.artifact(), b"\x3a\x02\x08\x01", b"\x0a\x00"])
            )


def ledger(choice: random.Random, steps: int = 14) -> Builder:
    """A ledger grown by `steps` things, of which one may be wrong."""
    growth = _Growth(choice)
    actions = [growth.batch] * 6 + [growth.block] * 2
    actions += [growth.open_chain, growth.register, growth.retire, growth.compromise, growth.conflict, growth.removal]
    actions.append(growth.stray)
    wrong_at = choice.randrange(steps * 2)
    for step in range(steps):
        with suppress(ValueError):  # numbers beyond 64 bits, which nobody can write down
            choice.choice(actions)(wrong=step == wrong_at)
    growth.builder.block()
    return growth.builder


def disturbed(choice: random.Random, entries: list[bytes]) -> list[bytes]:
    """One entry, or batch, taken out, doubled, moved or changed."""
    entries = list(entries)
    at, to = choice.randrange(len(entries)), choice.randrange(len(entries))
    end = min(len(entries), at + choice.choice([1, 1, 2, 4]))
    part = entries[at:end]
    what = choice.randrange(6)
    if what == 0:
        del entries[at:end]
    elif what == 1:
        entries[to:to] = part
    elif what == 2:
        del entries[at:end]
        entries[min(to, len(entries)) : min(to, len(entries))] = part
    elif what == 3:
        entries[at], entries[to] = entries[to], entries[at]
    elif what == 4:
        changed = bytearray(entries[at])
        changed[choice.randrange(len(changed))] ^= 1 << choice.randrange(8)
        entries[at] = bytes(changed)
    else:
        entries = entries[: at + 1]
    return entries or [b"\x4a\x00"]


def signed(builder: Builder, entries: Sequence[bytes]) -> bytes:
    """A checkpoint over these entries by the ledger's own key."""
    root = tree_root(b"".join(map(merkle.leaf_hash, entries)))
    return Checkpoint(builder.origin, len(entries), root).sign(builder.signer)
