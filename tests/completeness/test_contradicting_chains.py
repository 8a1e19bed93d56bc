"""Chains that name each other as they should not; receipts of one chain that contradict each other, or hide its end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from lineage_ledger.chain_receipts import ChainTally, VerifiedChain
from lineage_ledger.completeness import MAX_LOST_RANGES, ChainTotals, Count, Window
from lineage_ledger.errors import VerificationError
from lineage_ledger.formats import keys
from lineage_ledger.rpc import methods
from lineage_ledger.rpc.connection import Connection
from lineage_ledger.rpc.endpoint import Endpoint
from lineage_ledger.v1 import admin_pb2, entry_pb2
from tests.cli.recorded_ledger import run, run_json
from tests.completeness.served_chains import SECOND, T0, ServedChains, append, served_chains
from tests.support.producer import DEPLOYMENT_HASH, Producer, compromise, registration


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedChains]:
    with served_chains(tmp_path_factory.mktemp("chains")) as chains:
        yield chains


def opened(connection: Connection, chain: Producer, predecessor: bytes, next_number: int) -> None:
    body = chain.body()
    body.predecessor.chain_id, body.predecessor.next_number = predecessor, next_number
    append(connection, chain.seal([], body))


def administer(served: ServedChains, method: methods.Method, request: type, entry) -> None:  # type: ignore[type-arg]  # one of three
    with Connection(Endpoint(f"unix:{served.server.data / 'admin.sock'}")) as admin:
        admin.call(method, request(entry=entry))


def by_chain(served: ServedChains, *options: str, key: keys.SigningKey) -> dict[str, dict]:  # type: ignore[type-arg]
    arguments = ("completeness", "--data", served.server.data, "--producer", key.public_key.hex(), *options)
    return {each["chain_id"]: each for each in run_json(*arguments)["chains"]}


def test_who_recovered_whom(served: ServedChains) -> None:
    """A chain that names itself; one named by a stranger, and twice by its own key; one named before it was opened."""
    _, admin_key = keys.read_signing_key(served.server.data / "keys" / "admin.key")
    key, strange = keys.SigningKey.generate(), keys.SigningKey.generate()
    for each in (key, strange):
        entry = registration(served.server.origin, each, admin_key)
        administer(served, methods.REGISTER_PRODUCER, admin_pb2.RegisterProducerRequest, entry)
    itself, named, first, second, later, earlier = (Producer(served.server.origin, key) for _ in range(6))
    stranger = Producer(served.server.origin, strange)
    with Connection(Endpoint(served.server.address)) as connection:
        opened(connection, itself, itself.chain_id, 7)
        append(connection, named.batch())
        opened(connection, stranger, named.chain_id, 0)
        opened(connection, first, named.chain_id, 5)
        opened(connection, second, named.chain_id, 9)
        opened(connection, earlier, later.chain_id, 0)
        append(connection, later.batch())
    by_receipts, by_audit = (by_chain(served, *options, key=key) for options in ((), ("--audit",)))
    assert by_receipts == by_audit
    assert by_receipts[itself.chain_id.hex()]["state"] == "open"
    shown = by_receipts[named.chain_id.hex()]
    assert (shown["state"], shown["successor_chain_id"], shown["unsealed"]) == ("recovered", first.chain_id.hex(), 5)
    assert by_receipts[later.chain_id.hex()]["successor_chain_id"] == earlier.chain_id.hex()
    with served.client() as client:
        listed = {chain.chain_id: chain.successor_chain_id for chain in client.chains(public_key=key.public_key)}
    assert listed[itself.chain_id] == b""
    assert listed[named.chain_id] == first.chain_id
    entry = compromise(served.server.origin, key.public_key, admin_key)
    administer(served, methods.COMPROMISE_PRODUCER, admin_pb2.CompromiseProducerRequest, entry)
    by_receipts, by_audit = (by_chain(served, *options, key=key) for options in ((), ("--audit",)))
    assert by_receipts == by_audit
    assert {each["suspect_since"] for each in by_receipts.values()} == {"1970-01-01T00:00:00.000000001Z"}
    printed = run("completeness", "--data", served.server.data, "--producer", key.public_key.hex()).stdout
    assert printed.count("suspect: ") == 1  # a line for the key, however many chains it has


def test_what_is_named_and_not_there_is_no_zero(served: ServedChains) -> None:
    for audited in ((), ("--audit",)):
        for named in (("--chain", "ab" * 16), ("--producer", "ab" * 32)):
            result = run("completeness", "--data", served.server.data, *named, *audited)
            assert result.exit_code == 2
            assert "no number is missing" not in result.output


def test_receipts_claim_no_end(served: ServedChains) -> None:
    """That there is no later seal they cannot show, and so it is not said."""
    arguments = ("completeness", "--data", served.server.data, "--chain", served.open.chain_id.hex(), "--json")
    by_receipts, by_audit = run(*arguments), run(*arguments, "--audit")
    assert "up to their last seal" not in by_receipts.output
    assert "up to their last seal" in by_audit.output


# -- receipts of one chain, together -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(served: ServedChains) -> dict[str, list[VerifiedChain]]:
    """Of each chain, its seals each in a receipt of its own, as far as there are some."""
    found: dict[str, list[VerifiedChain]] = {}
    with served.client() as client:
        for name in ("open", "crashed", "conflicted"):
            ((_, whole),) = client.chain_receipts(getattr(served, name).chain_id)
            found[name] = [replace(whole, seals=(each,)) for each in whole.seals]
    return found


def test_an_older_checkpoint_takes_nothing_back(runs: dict[str, list[VerifiedChain]]) -> None:
    first, second = runs["conflicted"]
    tally = ChainTally(Window())
    tally.add(first)
    assert tally.goes_on, "the conflict is about the seal that follows"
    assert tally.add(replace(second, conflict_index=0, conflict_sequence=0)).state() == "conflicted"
    assert not tally.goes_on
    first, second = runs["crashed"]
    tally = ChainTally(Window())
    tally.add(first)
    assert tally.add(replace(second, successor=None)).state() == "recovered"


def test_receipts_that_contradict_each_other(runs: dict[str, list[VerifiedChain]]) -> None:
    first, second = runs["conflicted"]
    other = entry_pb2.SealBody(chain_id=bytes(16))
    recovered, too = runs["crashed"]
    pairs = [
        (first, replace(second, conflict_index=second.conflict_index + 1)),
        (replace(first, conflict_index=second.seals[0].index - 1), replace(second, conflict_index=0)),
        (first, replace(second, opened_index=second.opened_index + 1)),
        (first, replace(second, predecessor=entry_pb2.Predecessor(chain_id=bytes(16)))),
        (recovered, replace(too, successor=other)),
    ]
    for one, then in pairs:
        tally = ChainTally(Window())
        tally.add(one)
        with pytest.raises(VerificationError):
            tally.add(then)


def test_numbers_that_only_the_successor_knows_of(runs: dict[str, list[VerifiedChain]]) -> None:
    tally = ChainTally(Window())
    assert tally.add(runs["crashed"][0]).unsealed == 4, "the last seal was left out"
    assert tally.add(runs["crashed"][1]).unsealed == 0


# -- what is not known of losses ---------------------------------------------------------------------------------


def sealed(**fields: object) -> entry_pb2.SealBody:
    return entry_pb2.SealBody(
        count=1,
        earliest_start_time_unix_ns=T0,
        latest_start_time_unix_ns=T0,
        sealed_time_unix_ns=T0 + SECOND,
        bindings=[entry_pb2.Binding(deployment_hash=DEPLOYMENT_HASH, count=1)],
        **fields,  # type: ignore[arg-type]  # whatever a seal may say
    )


@pytest.mark.parametrize(
    ("since_s", "until_s", "lost"),
    [(0, 0, Count(5, 5)), (-9, 9, Count(0, 5)), (-9, -8, Count(0, 5)), (1, 2, Count(0, 5)), (2, 3, Count(0, 0))],
)
def test_a_loss_is_not_timed_by_what_was_not_lost(since_s: int, until_s: int, lost: Count) -> None:
    """It had started when it was declared lost; more nobody knows."""
    window = Window(*(T0 + at * SECOND for at in (since_s, until_s))) if until_s else Window()
    totals = ChainTotals(bytes(16), bytes(32))
    totals.add(9, sealed(lost=[entry_pb2.NumberRange(first=0, count=5)]), window)
    assert totals.lost == lost
    assert totals.lost_ranges == ([(0, 5)] if lost.at_most else [])


def test_more_losses_than_are_kept_are_counted() -> None:
    totals = ChainTotals(bytes(16), bytes(32))
    for batch in range(3):
        ranges = [entry_pb2.NumberRange(first=2_000 * batch + 3 * place, count=2) for place in range(500)]
        totals.add(9 + batch, sealed(batch_sequence=batch, lost=ranges), Window())
    assert (len(totals.lost_ranges), totals.lost_ranges_left_out) == (MAX_LOST_RANGES, 500)
    assert totals.lost == Count(3_000, 3_000)


def test_a_deployment_of_which_all_is_lost_is_not_left_out() -> None:
    totals = ChainTotals(bytes(16), bytes(32))
    gone = entry_pb2.Binding(deployment_hash=bytes(32))
    totals.add(9, entry_pb2.SealBody(bindings=[gone], lost=[entry_pb2.NumberRange(count=3)]), Window())
    totals.narrow([bytes(32)])
    assert (totals.by_deployment, totals.lost) == ({bytes(32): Count(0, 0)}, Count(3, 3))
