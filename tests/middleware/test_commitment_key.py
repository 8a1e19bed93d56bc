"""The file of a commitment key, and what a key says of a prediction."""

from __future__ import annotations

import hashlib
import hmac
import logging
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lineage_ledger.errors import InvalidKeyError
from lineage_ledger.middleware.commitment_key import CommitmentKey
from lineage_ledger.v1 import entry_pb2

SECRET = bytes(range(32))
START = 1_700_000_000_000_000_000


def committed(role: str, value: bytes) -> bytes:
    """As proto/README.md lays it down, by other means."""
    counter = START.to_bytes(8, "big") + b"request"
    key = hmac.new(SECRET, b"lineage-ledger/nonce/v1\n" + role.encode() + b"\n" + counter, hashlib.sha256).digest()
    return hmac.new(key, value, hashlib.sha256).digest()


def test_commitments_are_those_of_the_specification() -> None:
    key = CommitmentKey(SECRET)
    pieces = key.begin("input", START, b"request")
    for piece in (b"as", b"", b"ked"):
        pieces.update(piece)
    assert pieces.digest() == committed("input", b"asked")
    prediction = entry_pb2.Prediction(
        request_id=b"request",
        start_time_unix_ns=START,
        input_commitment=committed("input", b"asked"),
        output_commitment=committed("output", b"answer"),
    )
    assert key.opens(prediction, "input", b"asked")
    assert key.opens(prediction, "output", memoryview(b"answer"))
    assert not key.opens(prediction, "output", b"asked")
    assert not CommitmentKey(bytes(32)).opens(prediction, "input", b"asked")
    prediction.request_id = b"another"
    assert not key.opens(prediction, "input", b"asked")


def test_a_key_is_read_back_and_only_its_owner_may(secret_file: Path) -> None:
    assert secret_file.stat().st_mode & 0o777 == 0o600
    key, again = (
        CommitmentKey.read(secret_file),
        CommitmentKey.from_settings({"LINEAGE_COMMITMENT_KEY_FILE": str(secret_file)}),
    )
    assert key.begin("input", 1, b"").digest() == again.begin("input", 1, b"").digest()
    with pytest.raises(InvalidKeyError, match="File exists"):
        key.write(secret_file)
    secret_file.chmod(0o640)
    with pytest.raises(InvalidKeyError, match="chmod 600"):
        CommitmentKey.read(secret_file)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\n", b"\xff\xfe", b"PRIVATE+KEY+a+b+c"),
        *(b"COMMITMENT+KEY+", b"COMMITMENT+KEY+AAAA\n", b"COMMITMENT+KEY+*\n"),
        *(b"COMMITMENT+KEY+" + b"A" * 43 + b"=\nmore\n", b"COMMITMENT+KEY+" + b"A" * 2_000),
    ],
)
def test_what_is_no_key_is_refused_and_not_shown(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(InvalidKeyError) as caught:
        CommitmentKey.read(path)
    assert "AAAA" not in str(caught.value)


def test_a_key_is_made_on_first_use_and_by_one_of_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lineage.toml").write_text('commitment_key_file = "commitment.key"\n')
    with ThreadPoolExecutor(2) as pool:
        keys = [*pool.map(lambda _: CommitmentKey.from_settings({}), range(2))]
    keys.append(CommitmentKey.from_settings({"LINEAGE_COMMITMENT_KEY_FILE": "commitment.key"}))
    assert len({key.begin("input", 1, b"").digest() for key in keys}) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["commitment.key", "lineage.toml"]
    assert Path("commitment.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(InvalidKeyError, match="No such file"):
        CommitmentKey.from_settings({"LINEAGE_COMMITMENT_KEY_FILE": "no-such-folder/commitment.key"})


def test_without_a_setting_the_key_is_the_process_own_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.WARNING, logger="lineage_ledger.middleware"):
        one, two = CommitmentKey.from_settings({}), CommitmentKey.from_settings({})
    assert one.begin("input", 1, b"").digest() != two.begin("input", 1, b"").digest()
    assert "commitment_key_file" in caplog.text


def test_a_key_shows_nothing_of_itself() -> None:
    key = CommitmentKey(SECRET)
    assert repr(key) == "CommitmentKey(...)"
    with pytest.raises(TypeError):
        pickle.dumps(key)
    with pytest.raises(InvalidKeyError):
        CommitmentKey(bytes(15))
