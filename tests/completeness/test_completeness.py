"""Completeness: of real chains on a real server, and of chain receipts that were made to lie."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineage_ledger.chain_receipts import ChainTally, VerifiedChain, verify_chain_receipt
from lineage_ledger.completeness import Count, Share, Window
from lineage_ledger.errors import LineageError, RpcError, VerificationError
from lineage_ledger.formats.note import Verifier
from tests.cli.recorded_ledger import run, run_json
from tests.completeness.served_chains import SECOND, T0, ServedChains, served_chains
from tests.support.producer import DEPLOYMENT_HASH


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedChains]:
    with served_chains(tmp_path_factory.mktemp("chains")) as chains:
        yield chains


@pytest.fixture(scope="module")
def verifier(served: ServedChains) -> Verifier:
    return Verifier.parse(served.server.verifier_key)


def receipts(served: ServedChains, chain_id: bytes) -> list[tuple[bytes, VerifiedChain]]:
    with served.client() as client:
        return list(client.chain_receipts(chain_id))


def test_a_chain_with_a_loss(served: ServedChains) -> None:
    ((_, shown),) = receipts(served, served.open.chain_id)
    totals = ChainTally(Window()).add(shown)
    assert (totals.predictions, totals.lost, totals.statements) == (Count(100, 100), Count(5, 5), 0)
    assert (totals.first_number, totals.next_number) == (0, 105)
    assert totals.lost_ranges == [(92, 5)]
    assert totals.state() == "open"
    assert totals.state(abandoned_before_unix_ns=1 << 63) == "abandoned"


@pytest.mark.parametrize(
    ("name", "state"), [("closed", "closed"), ("crashed", "recovered"), ("conflicted", "conflicted")]
)
def test_fates(served: ServedChains, name: str, state: str) -> None:
    chain = getattr(served, name)
    ((_, shown),) = receipts(served, chain.chain_id)
    totals = ChainTally(Window()).add(shown)
    assert totals.state(abandoned_before_unix_ns=1 << 63) == state
    assert totals.next_number == chain.number
    if name == "crashed":
        assert totals.successor_chain_id == served.successor.chain_id


def test_the_successor_names_its_predecessor(served: ServedChains) -> None:
    ((_, shown),) = receipts(served, served.successor.chain_id)
    assert shown.predecessor is not None
    assert (shown.predecessor.chain_id, shown.predecessor.next_number) == (served.crashed.chain_id, 4)


@pytest.mark.parametrize(
    ("since_s", "until_s", "count"),
    [
        (0, 0, Count(100, 100)),
        (0, 10, Count(30, 30)),
        (10, 20, Count(30, 30)),
        (0.5, 10, Count(0, 30)),
        (5, 10.5, Count(0, 30)),
        (5, 20.5, Count(30, 60)),
        (40, 0, Count(0, 0)),
        (0, 31, Count(100, 100)),
    ],
)
def test_windows_give_bounds(served: ServedChains, since_s: float, until_s: float, count: Count) -> None:
    window = Window(*(T0 + int(at * SECOND) if at else 0 for at in (since_s, until_s)))
    ((_, shown),) = receipts(served, served.open.chain_id)
    totals = ChainTally(window).add(shown)
    assert totals.predictions == count


def test_edges_of_windows() -> None:
    window = Window(10, 20)
    assert [window.holds(time) for time in (9, 10, 19, 20)] == [False, True, True, False]
    assert window.share_of(10, 19) is Share.ALL
    assert window.share_of(10, 20) is Share.SOME
    assert window.share_of(20, 30) is Share.NONE
    assert window.share_of(1, 9) is Share.NONE
    assert window.share_of(0, 0) is Share.SOME
    assert Window(0, 5).share_of(5, 9) is Share.NONE


def test_one_checkpoint_one_receipt(served: ServedChains) -> None:
    first, second = (receipts(served, served.closed.chain_id)[0][0] for _ in range(2))
    assert first == second


def test_no_such_chain(served: ServedChains) -> None:
    with served.client() as client, pytest.raises(RpcError) as caught:
        list(client.chain_receipts(bytes(16)))
    assert caught.value.reason == "NOT_FOUND"


def test_every_changed_byte_is_noticed(served: ServedChains, verifier: Verifier) -> None:
    ((good, _),) = receipts(served, served.crashed.chain_id)
    verify_chain_receipt(good, verifier)
    for place in range(0, len(good), 7):
        changed = good[:place] + bytes((good[place] ^ 1,)) + good[place + 1 :]
        with pytest.raises(LineageError):
            verify_chain_receipt(changed, verifier)


def test_another_ledgers_key(served: ServedChains, tmp_path: Path) -> None:
    from lineage_ledger.formats.keys import SigningKey

    ((good, _),) = receipts(served, served.closed.chain_id)
    other = Verifier(served.server.origin, SigningKey.generate().public_key)
    with pytest.raises(VerificationError):
        verify_chain_receipt(good, other)


def test_runs_must_follow_each_other(served: ServedChains) -> None:
    with served.client() as client:
        operations = client._operations
        first = client._run(operations.chain_receipt(served.open.chain_id, 0))[1]
        third = client._run(operations.chain_receipt(served.open.chain_id, 2))[1]
        other = client._run(operations.chain_receipt(served.closed.chain_id, 1))[1]
    tally = ChainTally(Window())
    tally.add(first)
    for wrong in (first, third, other):
        with pytest.raises(VerificationError):
            tally.add(wrong)


def test_command_for_a_producer(served: ServedChains, tmp_path: Path) -> None:
    folder = tmp_path / "receipts"
    found = run_json(
        "completeness", "--data", served.server.data, "--producer", served.key.public_key.hex(), "-o", folder
    )
    assert found["totals"]["predictions"] == {"at_least": 116, "at_most": 116}
    assert found["totals"]["states"] == {"open": 2, "closed": 1, "recovered": 1, "abandoned": 0, "conflicted": 1}
    assert found["supported_by"] == "receipts"
    files = sorted(folder.iterdir())
    assert len(files) == 5
    for file in files:
        verified = run("verify", file, "--key", served.server.verifier_key, "--json")
        assert verified.exit_code == 0, verified.output
        assert json.loads(verified.stdout)["chains"][0]["chain_id"] == file.name[:32]


def test_command_for_people(served: ServedChains) -> None:
    result = run("completeness", "--data", served.server.data, "--chain", served.open.chain_id.hex())
    assert result.exit_code == 0, result.output
    assert "declared lost: numbers 92 to 96" in result.output
    assert "no number is missing" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--chain", "12"),
        ("--chain", "F" * 32),
        ("--producer", "00" * 32, "--from", "2026-02-01", "--until", "2026-01-01"),
    ],
)
def test_wrong_usage(served: ServedChains, arguments: tuple[str, ...]) -> None:
    assert run("completeness", "--data", served.server.data, *arguments).exit_code == 2


def test_an_unknown_producer_is_no_zero(served: ServedChains) -> None:
    """Nothing found is not the same as nothing lost."""
    assert run("completeness", "--data", served.server.data, "--producer", "ab" * 32).exit_code == 2


# -- totals from an audit ----------------------------------------------------------------------------------------


def test_a_deployment_comes_with_its_audit(served: ServedChains) -> None:
    found = run_json("completeness", "--data", served.server.data, "--deployment", DEPLOYMENT_HASH.hex())
    assert found["supported_by"] == "audit"
    assert found["audit"]["exit_status"] == 0
    assert found["totals"]["predictions"] == {"at_least": 116, "at_most": 116}
    assert found["totals"]["states"] == {"open": 2, "closed": 1, "recovered": 1, "abandoned": 0, "conflicted": 1}


def test_an_audit_and_receipts_say_the_same(served: ServedChains) -> None:
    arguments = ("completeness", "--data", served.server.data, "--producer", served.key.public_key.hex())
    by_receipts, by_audit = run_json(*arguments), run_json(*arguments, "--audit")
    assert by_receipts["chains"] == by_audit["chains"]
    assert by_receipts["totals"] == by_audit["totals"]


def test_a_model_that_nothing_was_made_with(served: ServedChains) -> None:
    found = run_json("completeness", "--data", served.server.data, "--model", "sha256:" + "0" * 64)
    assert found["chains"] == []
    assert found["totals"]["predictions"] == {"at_least": 0, "at_most": 0}


def test_with_a_checkpoint_that_was_kept_the_audit_sees_truncation(served: ServedChains, tmp_path: Path) -> None:
    kept, other = tmp_path / "kept.checkpoint", tmp_path / "other"
    assert run("checkpoint", "--data", served.server.data, "-o", kept).exit_code == 0
    other.write_text("no note\n")
    counted = ("completeness", "--data", served.server.data, "--deployment", DEPLOYMENT_HASH.hex())
    assert "truncation: cannot be checked" in run(*counted).stdout
    with_it = run(*counted, "--checkpoint", kept)
    assert with_it.exit_code == 0
    assert "truncation" not in with_it.stdout
    refused = run(*counted, "--checkpoint", other)
    assert refused.exit_code == 2
    assert f"{other} holds no checkpoint" in refused.stderr


def test_a_damaged_folder_supports_nothing(served: ServedChains, tmp_path: Path) -> None:
    folder = tmp_path / "public"
    key = ("--key", served.server.verifier_key)
    assert run("export", "--data", served.server.data, folder).exit_code == 0
    arguments = ("completeness", "--folder", folder, "--verifier-key", key[1], "--deployment", DEPLOYMENT_HASH.hex())
    assert run(*arguments).exit_code == 0
    bundle = next((folder / "tile" / "entries").rglob("000*/*"))
    damaged = bytearray(bundle.read_bytes())
    damaged[-1] ^= 1
    bundle.write_bytes(damaged)
    result = run(*arguments)
    assert result.exit_code == 1
    assert "no number is missing" not in result.output


def test_an_unreachable_url_is_no_answer(served: ServedChains) -> None:
    arguments = ("completeness", "--url", "http://127.0.0.1:9/", "--verifier-key", served.server.verifier_key)
    assert run(*arguments, "--deployment", DEPLOYMENT_HASH.hex()).exit_code == 2
