"""What the sequencer takes, what it refuses, and what is on record afterwards."""

from __future__ import annotations

import time

import pytest

from lineage_ledger.formats import checkpoint, keys, merkle, packed, seal, statement, strict
from lineage_ledger.v1 import entry_pb2
from lineage_ledger_server.errors import LockedError
from lineage_ledger_server.ledger import open_ledger
from lineage_ledger_server.sequencer.clock import LedgerClock
from tests.support.producer import Producer, a_prediction, compromise, registration, retirement


def test_a_new_ledger_begins_with_its_genesis_and_a_block(driver):
    genesis = strict.parse_entry(driver.ledger.reader.entry(0)).genesis
    assert genesis.origin == "example.com/ledger/test"
    assert genesis.ledger_public_key == driver.ledger.verifier.public_key
    assert list(genesis.admin_public_keys) == [driver.admin_key.public_key]
    block = strict.parse_entry(driver.ledger.reader.entry(1)).block
    assert (block.number, block.previous_block_hash) == (1, merkle.leaf_hash(driver.ledger.reader.entry(0)))


def test_batches_get_consecutive_indexes_and_a_checkpoint_over_them(driver):
    producer = driver.producer()
    opening = driver.append(producer.batch())
    batch = producer.predictions(300)
    appended = driver.append(batch)
    acknowledgement = appended.acknowledgement
    assert acknowledgement.first_index == opening.head.size
    assert acknowledgement.seal_index == acknowledgement.first_index + 300
    assert appended.head.size == acknowledgement.seal_index + 2  # the seal and the block
    signed = checkpoint.Checkpoint.open(appended.head.note, driver.ledger.verifier)
    assert (signed.size, signed.root) == (appended.head.size, appended.head.root)
    entries = [driver.ledger.reader.entry(index) for index in range(acknowledgement.first_index, appended.head.size)]
    assert packed.pack(entries[:-1]) == batch
    assert strict.parse_entry(entries[-1]).block.number == 4


def test_blocks_are_a_chain_with_time_that_does_not_go_back(driver):
    producer = driver.producer()
    for _ in range(20):
        driver.append(producer.batch())
    previous, number, last_time = merkle.leaf_hash(driver.ledger.reader.entry(0)), 0, 0
    for index in range(1, driver.ledger.reader.head().size):
        entry = driver.ledger.reader.entry(index)
        if (parsed := strict.parse_entry(entry)).WhichOneof("kind") == "block":
            assert parsed.block.previous_block_hash == previous
            assert parsed.block.number == number + 1
            assert parsed.block.time_unix_ns >= last_time
            previous, number, last_time = merkle.leaf_hash(entry), parsed.block.number, parsed.block.time_unix_ns
    assert number == 22


def test_a_repeated_batch_gets_its_old_range_under_a_current_checkpoint(driver):
    producer = driver.producer()
    driver.append(producer.batch())
    batch = producer.predictions(5)
    first = driver.append(batch)
    driver.append(producer.predictions(5))
    again = driver.append(batch)
    assert again.acknowledgement.duplicate
    assert again.acknowledgement.seal_index == first.acknowledgement.seal_index
    assert again.head.size > first.head.size
    driver.reopen()
    assert driver.append(batch).acknowledgement.seal_index == first.acknowledgement.seal_index


def test_a_chain_goes_on_after_the_ledger_was_opened_again(driver):
    producer = driver.producer()
    driver.append(producer.batch())
    driver.append(producer.predictions(700))
    driver.reopen()
    assert not driver.append(producer.predictions(3)).acknowledgement.duplicate


def test_an_unknown_key_is_refused(driver, refused):
    with refused("UNKNOWN_KEY"):
        driver.append(Producer(driver.ledger.origin).batch())


def test_a_gap_is_answered_with_the_expected_sequence(driver, refused):
    producer = driver.producer()
    with refused("SEQUENCE_GAP") as unopened:
        producer.batch()
        driver.append(producer.predictions(1))
    assert unopened.value.metadata == {"expected_sequence": "0"}
    producer = Producer(producer.origin, producer.key)
    driver.append(producer.batch())
    producer.predictions(1)
    with refused("SEQUENCE_GAP") as gap:
        driver.append(producer.predictions(1))
    assert gap.value.metadata == {"expected_sequence": "1"}


def test_two_contents_for_one_sequence_end_the_chain_with_both_on_record(driver, refused):
    producer = driver.producer()
    driver.append(producer.batch())
    clone = Producer(producer.origin, producer.key, producer.nonce)
    clone.batch()
    clone.previous = producer.previous
    first = producer.predictions(2)
    index = driver.append(first).acknowledgement.seal_index
    second = clone.predictions(3)
    with refused("SEQUENCE_CONFLICT") as conflict:
        driver.append(second)
    entry = driver.ledger.reader.entry(int(conflict.value.metadata["conflict_index"]))
    logged = strict.parse_entry(entry).conflict
    assert logged.first_seal == driver.ledger.reader.entry(index)
    assert logged.second_seal == packed.split(second)[-1]
    with refused("CHAIN_ENDED"):
        driver.append(producer.predictions(1))
    size = driver.ledger.reader.head().size
    with refused("SEQUENCE_CONFLICT"):
        driver.append(second)
    driver.reopen()
    with refused("CHAIN_ENDED"):
        driver.append(producer.predictions(1))
    assert driver.ledger.reader.head().size == size  # said once
    assert driver.append(first).acknowledgement.duplicate  # what was taken stays so


def test_a_chain_belongs_to_one_key(driver, refused):
    victim, thief = driver.producer(), driver.producer()
    driver.append(victim.batch())
    thief.chain_id, thief.sequence, thief.number, thief.previous = victim.chain_id, 1, 0, victim.previous
    with refused("CHAIN_ID_MISMATCH"):
        driver.append(thief.predictions(1))


def test_a_chain_id_cannot_be_occupied(driver, refused):
    victim, thief = driver.producer(), driver.producer()
    thief.chain_id = victim.chain_id
    with refused("CHAIN_ID_MISMATCH"):
        driver.append(thief.batch())


def test_a_batch_sealed_for_another_origin_is_refused(driver, refused):
    producer = driver.producer()
    with refused("CHAIN_ID_MISMATCH"):
        driver.append(Producer("example.com/other", producer.key).batch())
    driver.append(producer.batch())
    entries = [a_prediction(0)]
    with refused("BAD_SIGNATURE"):
        driver.append(producer.seal(entries, producer.body(entries), origin="example.com/other"))


def _alter(name: str, value: object):
    def alter(body: entry_pb2.SealBody) -> None:
        setattr(body, name, value)

    return alter


@pytest.mark.parametrize(
    ("reason", "alter"),
    [
        ("COUNT_MISMATCH", _alter("count", 3)),
        ("ROOT_MISMATCH", _alter("root", bytes(32))),
        ("LINK_MISMATCH", _alter("previous_seal_hash", bytes(32))),
        ("NUMBER_MISMATCH", _alter("first_number", 7)),
        ("BINDING_MISMATCH", lambda body: _alter("count", 1)(body.bindings[0])),
        ("BINDING_MISMATCH", lambda body: body.ClearField("bindings")),
        ("BINDING_MISMATCH", lambda body: body.bindings.add(deployment_hash=bytes(32), count=1)),
        ("TIME_RANGE_MISMATCH", _alter("earliest_start_time_unix_ns", 1)),
        ("TIME_RANGE_MISMATCH", _alter("latest_start_time_unix_ns", 2**63)),
        ("MALFORMED_SEAL", lambda body: body.lost.add(first=50, count=1)),
    ],
)
def test_a_seal_that_contradicts_its_batch_or_chain_is_refused(driver, refused, reason, alter):
    producer = driver.producer()
    driver.append(producer.batch())
    entries = [a_prediction(0), a_prediction(1)]
    body = producer.body(entries)
    alter(body)
    with refused(reason):
        driver.append(producer.seal(entries, body))


def test_a_changed_entry_a_missing_seal_and_a_changed_signature_are_refused(driver, refused):
    producer = driver.producer()
    driver.append(producer.batch())
    batch = producer.predictions(3)
    entries = packed.split(batch)
    swapped = [entries[1], entries[0], *entries[2:]]
    with refused("ROOT_MISMATCH"):
        driver.append(packed.pack(swapped))
    with refused("MALFORMED_SEAL"):
        driver.append(packed.pack(entries[:-1]))
    with refused("MALFORMED_SEAL"):
        driver.append(b"")
    with refused("BAD_SIGNATURE"):
        driver.append(batch[:-1] + bytes([batch[-1] ^ 1]))
    with refused("MALFORMED_BATCH"):
        driver.append(batch[:-1])
    assert not driver.append(batch).acknowledgement.duplicate


def _ledger_entries(driver) -> dict[str, bytes]:
    """An entry of each kind that only the ledger writes, or that has its own way in."""
    reader = driver.ledger.reader
    key = keys.SigningKey.generate()
    other = driver.producer()
    seals = [packed.split(Producer(other.origin, other.key).batch())[0] for _ in range(2)]
    signature = bytes(64)
    removal = entry_pb2.RemovalBody(policy="p", ranges=[entry_pb2.IndexRange(first=1, count=1)], time_unix_ns=1)
    change = entry_pb2.LedgerKeyChange(old_public_key=bytes(32), new_public_key=key.public_key, time_unix_ns=1)
    return {
        "genesis": reader.entry(0),
        "block": reader.entry(1),
        "producer_registered": registration(driver.ledger.origin, key, driver.admin_key),
        "producer_retired": retirement(driver.ledger.origin, other.key.public_key, driver.admin_key, 9),
        "producer_compromised": compromise(driver.ledger.origin, other.key.public_key, driver.admin_key),
        "conflict": entry_pb2.Entry(
            conflict=entry_pb2.Conflict(first_seal=seals[0], second_seal=seals[1])
        ).SerializeToString(),
        "removal": entry_pb2.Entry(
            removal=entry_pb2.Removal(
                body=removal.SerializeToString(), admin_public_key=bytes(32), admin_signature=signature
            )
        ).SerializeToString(),
        "ledger_key": entry_pb2.Entry(
            ledger_key=entry_pb2.LedgerKey(
                body=change.SerializeToString(),
                old_signature=signature,
                new_signature=signature,
                admin_public_key=bytes(32),
                admin_signature=signature,
            )
        ).SerializeToString(),
        "seal": seals[0],
    }


def test_a_producer_cannot_append_what_only_the_ledger_writes(driver, refused):
    producer = driver.producer()
    driver.append(producer.batch())
    forbidden = _ledger_entries(driver)
    for kind, entry in forbidden.items():
        assert strict.parse_entry(entry).WhichOneof("kind") == kind
        attempt = Producer(producer.origin, producer.key, sequence=1, previous=producer.previous, nonce=producer.nonce)
        with refused("KIND_NOT_ALLOWED"):
            driver.append(attempt.batch([entry]))
    assert len(forbidden) == 9


def test_statements_are_taken_and_malformed_ones_refused(driver, refused):
    producer = driver.producer()
    driver.append(producer.batch())
    model = statement.artifact(kind="model", digest="sha256:" + "ab" * 32, name="m")
    driver.append(producer.batch([model, a_prediction(1)]))
    malformed = model + b"\x62\x00"
    attempt = producer.body([a_prediction(2)])
    attempt.root, attempt.count = merkle.leaf_hash(malformed), 1
    attempt.ClearField("bindings")
    with refused("MALFORMED_ENTRY"):
        driver.append(producer.seal([malformed], attempt))


def test_a_forged_attestation_is_refused(driver, refused):
    producer = driver.producer()
    driver.append(producer.batch())
    body = entry_pb2.AttestationBody(
        subject=entry_pb2.Digest(algorithm=entry_pb2.DIGEST_ALGORITHM_SHA256, value=bytes(32)),
        predicate_type="https://example.com/review",
        public_key=keys.SigningKey.generate().public_key,
        time_unix_ns=1,
    ).SerializeToString()
    forged = entry_pb2.Entry(attestation=entry_pb2.Attestation(body=body, signature=bytes(64))).SerializeToString()
    with refused("BAD_SIGNATURE"):
        driver.append(producer.batch([forged]))


def test_a_closed_chain_takes_nothing_more(driver, refused):
    producer = driver.producer()
    driver.append(producer.batch())
    driver.append(producer.batch([a_prediction(0)], closing=True))
    with refused("CHAIN_ENDED"):
        driver.append(producer.predictions(1))


def test_losses_take_numbers(driver):
    producer = driver.producer()
    driver.append(producer.batch())
    driver.append(producer.batch([a_prediction(0), a_prediction(3)], lost=[(1, 2)]))
    driver.append(producer.predictions(1))
    assert producer.number == 5
    assert seal.place_of(producer.body([], lost=[(5, 2)]), 6) is None


def test_a_retired_key_opens_no_chain_and_drains_its_open_ones(driver, refused):
    producer = driver.producer()
    driver.append(producer.batch())
    public_key = producer.key.public_key
    driver.change(retirement(driver.ledger.origin, public_key, driver.admin_key, last_block=5), "producer_retired")
    driver.append(producer.predictions(1))  # block 5
    with refused("RETIRED_KEY"):
        driver.append(producer.predictions(1))
    with refused("RETIRED_KEY"):
        driver.append(Producer(producer.origin, producer.key).batch())
    with refused("RETIRED_KEY"):
        driver.change(retirement(driver.ledger.origin, public_key, driver.admin_key, 99), "producer_retired")


def test_a_compromised_key_gets_nothing_in_also_after_opening_again(driver, refused):
    producer = driver.producer()
    opening = producer.batch()
    driver.append(opening)
    driver.change(compromise(driver.ledger.origin, producer.key.public_key, driver.admin_key), "producer_compromised")
    batch = producer.predictions(1)
    with refused("COMPROMISED_KEY"):
        driver.append(batch)
    driver.reopen()
    with refused("COMPROMISED_KEY"):
        driver.append(batch)
    assert driver.append(opening).acknowledgement.duplicate


def test_registrations_need_admin_and_possession_and_happen_once(driver, refused):
    origin, key = driver.ledger.origin, keys.SigningKey.generate()
    stranger = keys.SigningKey.generate()
    with refused("BAD_SIGNATURE"):
        driver.change(registration(origin, key, stranger), "producer_registered")
    with refused("BAD_SIGNATURE"):
        driver.change(registration("example.com/other", key, driver.admin_key), "producer_registered")
    driver.change(registration(origin, key, driver.admin_key), "producer_registered")
    with refused("PRODUCER_EXISTS"):
        driver.change(registration(origin, key, driver.admin_key), "producer_registered")
    with refused("NOT_FOUND"):
        driver.change(compromise(origin, stranger.public_key, driver.admin_key), "producer_compromised")
    with refused("KIND_NOT_ALLOWED"):
        driver.change(compromise(origin, key.public_key, driver.admin_key), "producer_registered")


def test_a_small_order_key_cannot_be_registered(driver, refused):
    class SmallOrder(keys.SigningKey):
        @property
        def public_key(self) -> bytes:
            return bytes.fromhex("0100000000000000000000000000000000000000000000000000000000000000")

    with refused("SMALL_ORDER_KEY"):
        driver.change(
            registration(driver.ledger.origin, SmallOrder(bytes(32)), driver.admin_key), "producer_registered"
        )


def test_a_second_process_is_kept_out(driver):
    with pytest.raises(LockedError, match="another process"):
        open_ledger(driver.data_dir)


def test_the_clock_gives_no_time_twice_smaller_and_refuses_a_leap(monkeypatch, refused):
    now = 1_700_000_000_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: now)
    clock = LedgerClock(now + 5)
    assert clock.now_unix_ns() == now + 5
    now -= 10_000_000_000
    assert clock.now_unix_ns() == 1_700_000_000_000_000_005
    now += 20_000_000_000
    assert clock.now_unix_ns() == now
    now += 7_200_000_000_000
    with refused("READ_ONLY"):
        clock.now_unix_ns()
    now -= 7_200_000_000_000
    assert clock.now_unix_ns() == now
    now -= 7_200_000_000_000  # a step back that is corrected again is no leap
    assert clock.now_unix_ns() == now + 7_200_000_000_000
    now += 7_200_000_000_000
    assert clock.now_unix_ns() == now


def test_a_newest_block_from_the_future_is_said_and_its_time_repeated(driver, capsys, monkeypatch):
    later = time.time_ns() + 86_400_000_000_000
    with monkeypatch.context() as patch:
        driver.ledger.close()
        patch.setattr(time, "time_ns", lambda: later)
        driver.ledger = open_ledger(driver.data_dir)
        producer = driver.producer()
    capsys.readouterr()
    driver.reopen()
    logged = capsys.readouterr()
    assert "ahead of this machine's clock" in logged.out + logged.err
    outcome = driver.append(producer.batch())
    block = strict.parse_entry(driver.ledger.reader.entry(outcome.head.size - 1)).block
    assert block.time_unix_ns == later


def test_a_ledger_that_stood_still_writes_a_block_when_it_opens(driver, monkeypatch):
    """Else who asks for a young view would be told for a minute that the ledger writes no more."""
    driver.reopen()
    stood = driver.ledger.reader.head().size
    driver.append(driver.producer().batch())
    assert driver.ledger.reader.head().size == stood + 4  # a block each with the registration and the batch
    driver.ledger.close()
    later = time.time_ns() + 61_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: later)
    driver.ledger = open_ledger(driver.data_dir)
    until = time.monotonic() + 5
    while driver.ledger.reader.head().size < stood + 5:
        assert time.monotonic() < until
        time.sleep(0.005)
    assert strict.parse_entry(driver.ledger.reader.entry(stood + 4)).block.time_unix_ns == later


def test_the_seal_that_opens_a_chain_has_no_bindings_not_even_empty_ones(driver, refused):
    producer = driver.producer()
    body = producer.body()
    body.bindings.add(deployment_hash=bytes(range(32)))
    with refused("MALFORMED_SEAL"):
        driver.append(producer.seal([], body))
