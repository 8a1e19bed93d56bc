"""Each rule of an audit: a ledger with exactly that rule broken has exactly that finding, at its place."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lineage_ledger.audit import audit
from lineage_ledger.errors import MalformedEntryError
from lineage_ledger.formats import merkle, strict
from lineage_ledger.formats.note import Signer
from lineage_ledger.v1 import entry_pb2
from tests.audit.ledger_builder import START_NS, Builder, Chain, Edit, begun, predictions

Found = list[tuple[str, int | None]]
Case = Callable[[], tuple[Builder, Found]]
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


def seal_case(name: str, kind: str, edit: Edit) -> None:
    """A ledger whose second batch has an edited seal, with one more batch behind it."""

    def build() -> tuple[Builder, Found]:
        builder, key = begun()
        chain = builder.open_chain(key)
        builder.batch(chain, predictions(builder, 3))
        index = builder.batch(chain, predictions(builder, 4, 2), edit=edit)
        builder.batch(chain, predictions(builder, 2))
        builder.block()
        return builder, [(kind, index)]

    CASES[name] = build


def set_field(name: str, value: object) -> Edit:
    return lambda body: setattr(body, name, value)


seal_case("seal with another root", "root_mismatch", set_field("root", b"r" * 32))
seal_case("seal that does not follow by sequence", "sequence_gap", set_field("batch_sequence", 9))
seal_case("seal with another link", "link_mismatch", set_field("previous_seal_hash", b"l" * 32))
seal_case("seal with a gap in the numbers", "number_mismatch", set_field("first_number", 9))
seal_case("seal with an earlier first time", "time_range_mismatch", set_field("earliest_start_time_unix_ns", 1))
seal_case("seal with a later last time", "time_range_mismatch", set_field("latest_start_time_unix_ns", 2**63))
seal_case("seal with a row too few", "binding_mismatch", lambda body: body.bindings.pop())
seal_case("seal with a count too small in its table", "binding_mismatch", lambda b: setattr(b.bindings[0], "count", 1))
seal_case(
    "seal with losses outside of its span",
    "malformed_seal",
    lambda body: body.lost.append(entry_pb2.NumberRange(first=100, count=2)),
)


@case
def seal_signed_by_another_key() -> tuple[Builder, Found]:
    builder, key = begun()
    chain = builder.open_chain(key)
    index = builder.batch(chain, predictions(builder, 4), signing_key=builder.new_key())
    builder.batch(chain, predictions(builder, 2))
    builder.block()
    return builder, [("bad_signature", index)]


@case
def seal_of_another_origin() -> tuple[Builder, Found]:
    builder, key = begun()
    chain = builder.open_chain(key)
    builder.origin = "example.com/another"
    index = builder.batch(chain, predictions(builder, 4))
    builder.origin = builder.signer.name
    builder.block()
    return builder, [("bad_signature", index)]


@case
def seal_counts_fewer_than_stand_there() -> tuple[Builder, Found]:
    builder, key = begun()
    chain = builder.open_chain(key)
    stray = builder.append(builder.prediction())
    builder.batch(chain, predictions(builder, 3))
    builder.block()
    return builder, [("unclosed", stray)]


@case
def seal_counts_more_than_stand_there() -> tuple[Builder, Found]:
    builder, key = begun()
    chain = builder.open_chain(key)
    builder.batch(chain, predictions(builder, 3))
    index = builder.batch(chain, predictions(builder, 3), edit=lambda body: setattr(body, "count", 5))
    builder.block()
    return builder, [("count_mismatch", index)]


@case
def seal_counts_more_than_the_whole_ledger() -> tuple[Builder, Found]:
    builder, key = begun()
    index = builder.batch(
        builder.open_chain(key), predictions(builder, 3), edit=lambda body: setattr(body, "count", 255)
    )
    builder.block()
    return builder, [("count_mismatch", index)]


@case
def entries_without_a_seal_before_the_block() -> tuple[Builder, Found]:
    builder, _ = begun()
    stray = builder.append(builder.prediction())
    builder.append(builder.artifact())
    builder.block()
    return builder, [("unclosed", stray)]


@case
def block_within_a_batch() -> tuple[Builder, Found]:
    builder, key = begun()
    chain = builder.open_chain(key)
    first = len(builder.entries)
    builder.batch(chain, predictions(builder, 3), within=builder.block)
    builder.block()
    return builder, [("unclosed", first)]


@case
def admins_entry_within_a_batch() -> tuple[Builder, Found]:
    builder, key = begun()
    chain = builder.open_chain(key)
    first = len(builder.entries)
    builder.batch(chain, predictions(builder, 3), within=lambda: builder.register(builder.new_key()))
    builder.block()
    return builder, [("unclosed", first)]


@case
def first_seal_with_another_nonce() -> tuple[Builder, Found]:
    builder, key = begun()
    index = len(builder.entries)
    chain = builder.open_chain(key, edit=lambda body: setattr(body, "chain_nonce", b"n" * 32))
    builder.batch(chain, predictions(builder, 2))
    builder.block()
    return builder, [("chain_id_mismatch", index)]


@case
def first_seal_that_is_not_empty() -> tuple[Builder, Found]:
    builder, key = begun()
    chain = builder.new_chain(key)
    index = builder.batch(chain, predictions(builder, 2))
    builder.batch(chain, predictions(builder, 2))
    builder.block()
    return builder, [("malformed_seal", index)]


@case
def chain_without_its_first_seal() -> tuple[Builder, Found]:
    builder, key = begun()
    chain = builder.new_chain(key)
    builder.advance(chain, builder.seal_entry(chain, ()))
    index = builder.batch(chain, predictions(builder, 2))
    builder.batch(chain, predictions(builder, 2))
    builder.block()
    return builder, [("sequence_gap", index)]


@case
def seal_twice() -> tuple[Builder, Found]:
    builder, key = begun()
    chain = builder.open_chain(key)
    builder.batch(chain, ())
    index = builder.append(builder.entries[-1])
    builder.batch(chain, predictions(builder, 2))
    builder.block()
    return builder, [
        ("sequence_gap", index),
    ]


@case
def batch_of_another_producer_in_a_chain() -> tuple[Builder, Found]:
    builder, key = begun()
    other = builder.new_key()
    builder.register(other)
    builder.block()
    chain = builder.open_chain(key)
    chain.key = other
    index = builder.batch(chain, predictions(builder, 2))
    builder.block()
    return builder, [("chain_id_mismatch", index)]


@case
def batch_after_the_closing_seal() -> tuple[Builder, Found]:
    builder, key = begun()
    chain = builder.open_chain(key)
    builder.batch(chain, predictions(builder, 2), closing=True)
    index = builder.batch(chain, predictions(builder, 2))
    builder.block()
    return builder, [("chain_ended", index)]


@case
def batch_of_an_unknown_key() -> tuple[Builder, Found]:
    builder, _ = begun()
    index = len(builder.entries)
    chain = builder.open_chain(builder.new_key())
    builder.batch(chain, predictions(builder, 2))
    builder.block()
    return builder, [("unknown_key", index)]


@case
def batch_before_the_registration() -> tuple[Builder, Found]:
    builder, _ = begun()
    key = builder.new_key()
    index = len(builder.entries)
    chain = builder.open_chain(key)
    builder.register(key)
    builder.batch(chain, predictions(builder, 2))
    builder.block()
    return builder, [("unknown_key", index)]


@case
def chain_opened_by_a_retired_key() -> tuple[Builder, Found]:
    builder, key = begun()
    builder.retire(key, 100)
    index = len(builder.entries)
    chain = builder.open_chain(key)
    builder.batch(chain, predictions(builder, 2))
    builder.block()
    return builder, [("retired_key", index)]


@case
def batch_after_a_retired_keys_last_block() -> tuple[Builder, Found]:
    builder, key = begun()
    chain = builder.open_chain(key)
    builder.retire(key, builder.block_number + 1)
    builder.batch(chain, predictions(builder, 2))
    builder.block()
    index = builder.batch(chain, predictions(builder, 2))
    builder.block()
    return builder, [("retired_key", index)]


@case
def batch_of_a_compromised_key() -> tuple[Builder, Found]:
    builder, key = begun()
    chain = builder.open_chain(key)
    builder.compromise(key)
    index = builder.batch(chain, predictions(builder, 2))
    builder.block()
    return builder, [("compromised_key", index)]


@case
def genesis_of_another_origin() -> tuple[Builder, Found]:
    builder = Builder()
    builder.genesis(origin="example.com/another")
    builder.block()
    return builder, [("origin", 0)]


@case
def genesis_of_another_ledger_key() -> tuple[Builder, Found]:
    builder = Builder()
    builder.genesis(ledger_public_key=builder.new_key().public_key)
    builder.block()
    return builder, [("ledger_key", 0)]


@case
def second_genesis() -> tuple[Builder, Found]:
    builder, _ = begun()
    index = builder.append(builder.entries[0])
    builder.block()
    return builder, [("genesis", index)]


@case
def no_genesis() -> tuple[Builder, Found]:
    builder = Builder()
    builder.append(entry_pb2.Entry(block=entry_pb2.Block(number=1, time_unix_ns=1, previous_block_hash=b"b" * 32)))
    return builder, [("genesis", 0), ("block_link", 0)]


@case
def block_with_a_number_left_out() -> tuple[Builder, Found]:
    builder, _ = begun()
    index = builder.block(number=9)
    builder.block()
    return builder, [("block_number", index)]


@case
def block_with_another_link() -> tuple[Builder, Found]:
    builder, _ = begun()
    index = builder.block(link=b"l" * 32)
    builder.block()
    return builder, [("block_link", index)]


@case
def block_back_in_time() -> tuple[Builder, Found]:
    builder, _ = begun()
    index = builder.block(time_unix_ns=START_NS)
    builder.block()
    return builder, [("block_time", index)]


@case
def no_block_at_the_end() -> tuple[Builder, Found]:
    builder, key = begun()
    builder.open_chain(key)
    return builder, [("no_block", len(builder.entries) - 1)]


@case
def registration_by_no_admin() -> tuple[Builder, Found]:
    builder, _ = begun()
    index = builder.register(builder.new_key(), admin=builder.new_key())
    builder.block()
    return builder, [("admin_entry", index)]


@case
def registration_without_possession() -> tuple[Builder, Found]:
    builder, _ = begun()
    index = builder.register(builder.new_key(), possession=b"p" * 64)
    builder.block()
    return builder, [("admin_entry", index)]


@case
def registration_with_another_admin_signature() -> tuple[Builder, Found]:
    builder, _ = begun()
    index = builder.register(builder.new_key())
    entry = entry_pb2.Entry.FromString(builder.entries[index])
    entry.producer_registered.admin_signature = b"s" * 64
    builder.entries[index] = entry.SerializeToString()
    builder.block()
    return builder, [("admin_entry", index)]


@case
def registration_twice() -> tuple[Builder, Found]:
    builder, key = begun()
    index = builder.register(key)
    builder.block()
    return builder, [("producer_exists", index)]


@case
def retirement_of_an_unknown_key() -> tuple[Builder, Found]:
    builder, _ = begun()
    index = builder.retire(builder.new_key(), 9)
    builder.block()
    return builder, [("unknown_key", index)]


@case
def retirement_by_no_admin() -> tuple[Builder, Found]:
    builder, key = begun()
    index = builder.retire(key, 9, admin=builder.new_key())
    builder.open_chain(key)
    builder.block()
    return builder, [("admin_entry", index)]


@case
def compromise_of_an_unknown_key() -> tuple[Builder, Found]:
    builder, _ = begun()
    index = builder.compromise(builder.new_key())
    builder.block()
    return builder, [("unknown_key", index)]


@case
def compromise_twice() -> tuple[Builder, Found]:
    builder, key = begun()
    builder.compromise(key)
    index = builder.compromise(key)
    builder.block()
    return builder, [("ended_key", index)]


@case
def removal_by_no_admin() -> tuple[Builder, Found]:
    builder, _ = begun()
    index = builder.removal(admin=builder.new_key())
    builder.block()
    return builder, [("admin_entry", index)]


@case
def removal_with_another_signature() -> tuple[Builder, Found]:
    builder, _ = begun()
    index = builder.removal()
    entry = entry_pb2.Entry.FromString(builder.entries[index])
    entry.removal.admin_signature = b"s" * 64
    builder.entries[index] = entry.SerializeToString()
    builder.block()
    return builder, [("admin_entry", index)]


def key_change_case(wrong: str, kind: str) -> None:
    def build() -> tuple[Builder, Found]:
        builder, _ = begun()
        index = builder.change_ledger_key(builder.new_key(), wrong=wrong)
        builder.block()
        return builder, [(kind, index)]

    CASES[f"ledger key change with another {wrong} signature"] = build


key_change_case("old", "ledger_key")
key_change_case("new", "ledger_key")
key_change_case("admin", "admin_entry")


@case
def ledger_key_change_of_a_key_that_is_none() -> tuple[Builder, Found]:
    builder, _ = begun()
    index = builder.change_ledger_key(builder.new_key(), old=builder.new_key())
    builder.block()
    return builder, [("ledger_key", index)]


@case
def ledger_key_that_comes_back() -> tuple[Builder, Found]:
    builder, _ = begun()
    first = builder.signer.key
    builder.change_ledger_key(builder.new_key())
    builder.block()
    index = builder.change_ledger_key(first)
    builder.block()
    return builder, [("ledger_key", index)]


@case
def attestation_signed_by_another() -> tuple[Builder, Found]:
    builder, key = begun()
    chain = builder.open_chain(key)
    index = len(builder.entries)
    builder.batch(chain, [builder.attestation(key, signer=builder.new_key())])
    builder.block()
    return builder, [("attestation_signature", index)]


def malformed(entry: bytes) -> bytes:
    """The same message with its last varint field, or an unknown one, in an encoding that is not allowed."""
    changed = bytes([entry[0], entry[1] + 3]) + entry[2:] + b"\x40\x81\x00"
    with pytest.raises(MalformedEntryError):
        strict.check_entry(changed)
    return changed


@case
def prediction_in_another_encoding() -> tuple[Builder, Found]:
    builder, key = begun()
    chain = builder.open_chain(key)
    index = len(builder.entries) + 1
    batch = predictions(builder, 3)
    batch[1] = malformed(batch[1])
    builder.batch(chain, batch)
    builder.batch(chain, predictions(builder, 3))
    builder.block()
    return builder, [("encoding", index)]


@case
def block_in_another_encoding() -> tuple[Builder, Found]:
    builder, key = begun()
    index = builder.block()
    builder.entries[index] = malformed(builder.entries[index])
    builder.block_hash = merkle.leaf_hash(builder.entries[index])
    builder.open_chain(key)
    builder.block()
    return builder, [("encoding", index)]


@case
def kind_that_is_not_known() -> tuple[Builder, Found]:
    builder, key = begun()
    chain = builder.open_chain(key)
    index = len(builder.entries)
    builder.batch(chain, [b"\x3a\x02\x08\x01"])
    builder.block()
    return builder, [("encoding", index)]


def conflict_case(name: str, build: Callable[[Builder, Chain, bytes, bytes], Found]) -> None:
    """A chain of three batches, and two seals for its second: the logged one, and another."""

    def make() -> tuple[Builder, Found]:
        builder, key = begun()
        chain = builder.open_chain(key)
        other = builder.seal_entry(chain, (), edit=lambda body: setattr(body, "sealed_time_unix_ns", 5))
        logged = builder.entries[builder.batch(chain, ())]
        builder.batch(chain, predictions(builder, 2))
        found = build(builder, chain, logged, other)
        builder.block()
        return builder, found

    CASES[f"conflict {name}"] = make


def right_conflict(builder: Builder, chain: Chain, logged: bytes, other: bytes) -> Found:
    builder.conflict(logged, other)
    return []


conflict_case("that is right", right_conflict)
conflict_case("with its seals exchanged", lambda b, _, logged, other: [("conflict", b.conflict(other, logged))])
conflict_case(
    "of two sequences", lambda b, chain, logged, _: [("conflict", b.conflict(logged, b.seal_entry(chain, ())))]
)


@case
def conflict_with_a_seal_nobody_signed() -> tuple[Builder, Found]:
    builder, key = begun()
    chain = builder.open_chain(key)
    other = builder.seal_entry(
        chain, (), signing_key=builder.new_key(), edit=lambda body: setattr(body, "sealed_time_unix_ns", 5)
    )
    logged = builder.entries[builder.batch(chain, ())]
    index = builder.conflict(logged, other)
    builder.block()
    return builder, [("conflict", index)]


@case
def conflict_of_one_content_signed_twice() -> tuple[Builder, Found]:
    builder, key = begun()
    chain = builder.open_chain(key)
    other = builder.seal_entry(chain, (), signing_key=builder.new_key())
    logged = builder.entries[builder.batch(chain, ())]
    index = builder.conflict(logged, other)
    builder.block()
    return builder, [("encoding", index)]


@case
def first_block_before_the_genesis() -> tuple[Builder, Found]:
    builder = Builder()
    builder.genesis()
    builder.block(time_unix_ns=1)
    return builder, [("block_time", 1)]


@case
def batch_after_a_conflict() -> tuple[Builder, Found]:
    builder, key = begun()
    chain = builder.open_chain(key)
    other = builder.seal_entry(chain, (), edit=lambda body: setattr(body, "sealed_time_unix_ns", 5))
    logged = builder.entries[builder.batch(chain, ())]
    builder.conflict(logged, other)
    index = builder.batch(chain, predictions(builder, 2))
    builder.block()
    return builder, [("chain_ended", index)]


@pytest.mark.parametrize("name", CASES)
def test_exactly_the_broken_rule_is_found(name: str) -> None:
    builder, expected = CASES[name]()
    report = audit(builder.source(), builder.verifier)
    assert [(finding.kind, finding.index) for finding in report.findings] == expected, report.findings
    assert report.failures == []
    assert report.exit_status == (1 if expected else 0)


def test_a_change_of_the_ledgers_key_is_followed() -> None:
    builder, key = begun()
    old = builder.signer
    before = builder.checkpoint()
    builder.change_ledger_key(builder.new_key())
    builder.block()
    chain = builder.open_chain(key)
    builder.batch(chain, predictions(builder, 5))
    builder.block()
    for verifier in (old.verifier, builder.verifier):
        assert audit(builder.source(), verifier, before).exit_status == 0
    wrong = builder.source()
    wrong.checkpoint = builder.checkpoint(signer=old)
    assert [f.kind for f in audit(wrong, builder.verifier).findings] == ["checkpoint_signature"]


def test_a_checkpoint_signed_by_another_key_is_a_finding() -> None:
    builder, _ = begun()
    source = builder.source()
    source.checkpoint = builder.checkpoint(signer=Signer(builder.origin, builder.new_key()))
    assert [(f.kind, f.place) for f in audit(source, builder.verifier).findings] == [
        ("checkpoint_signature", "checkpoint")
    ]
