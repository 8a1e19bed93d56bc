"""Statements are strictly encoded whatever they are built from, and any entry reads as plain data."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage_ledger.errors import MalformedEntryError, MalformedError, SignatureError
from lineage_ledger.formats import describe, statement
from lineage_ledger.formats.digest import ManifestFile
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.strict import check_entry, parse_entry
from lineage_ledger.v1 import entry_pb2 as pb
from tests.formats import entry_examples as examples
from tests.formats.entry_strategies import entries

DIGEST = "sha256:" + "ab" * 32
TIME = examples.TIME


def test_an_artifact_from_keywords_is_the_example() -> None:
    code = statement.code_state(
        commit="sha1:" + "23" * 20,
        repository="https://example.com/scoring.git",
        branch="main",
        diff="sha256:" + "24" * 32,
    )
    assert code.dirty
    wanted = examples.artifact()
    del wanted.files[1]
    entry = statement.artifact(
        kind="code",
        digest="sha256:" + "21" * 32,
        name="scoring",
        version="1.4.0",
        uri="https://example.com/scoring.git",
        size_bytes=123_456,
        media_type="application/vnd.git",
        files=[ManifestFile("a.py", b"\x22" * 32, 100)],
        code=code,
        attributes={"\u00e9": "", "caf\u00e9": 1},
        created_time_unix_ns=TIME,
    )
    assert entry == pb.Entry(artifact=wanted).SerializeToString()
    assert statement.statement_hash(entry) == hashlib.sha256(b"\0" + entry).digest()


@pytest.mark.parametrize("kind", ["dataset", "code", "environment", "model", "other"])
def test_kinds_of_artifacts(kind: Any) -> None:
    entry = statement.artifact(kind=kind, digest=DIGEST, name="x")
    assert pb.ArtifactKind.Name(parse_entry(entry).artifact.kind) == f"ARTIFACT_KIND_{kind.upper()}"
    assert describe.describe(entry)["artifact"]["kind"] == kind


@pytest.mark.parametrize("kind", ["training", "preprocessing", "feature_engineering", "evaluation", "other"])
def test_kinds_of_runs(kind: Any) -> None:
    entry = statement.run(kind=kind, name="x")
    assert pb.RunKind.Name(parse_entry(entry).run.kind) == f"RUN_KIND_{kind.upper()}"
    assert describe.describe(entry)["run"]["kind"] == kind


def test_a_run_and_a_deployment_from_keywords_are_the_examples() -> None:
    run = statement.run(
        kind="training",
        run_id="run-17",
        name="train",
        inputs=[("sha256:" + "31" * 32, "training"), examples.sha256(0x30)],
        outputs=[("sha256:" + "32" * 32, "model")],
        parameters={"rate": 0.1, "depth": 6},
        metrics={"auc": 0.93},
        code="sha256:" + "21" * 32,
        environment=examples.sha256(0x33),
        start_time_unix_ns=TIME,
        end_time_unix_ns=TIME + 10**12,
        command="python train.py --depth 6",
    )
    assert run == examples.FULL["run"].SerializeToString()
    deployment = statement.deployment(
        name="scoring-eu",
        model="sha256:" + "32" * 32,
        configuration="sha256:" + "41" * 32,
        image="sha256:" + "42" * 32,
        server="kserve 0.21.0",
        endpoint="https://example.com/v2/models/scoring",
        valid_from_unix_ns=TIME,
        valid_until_unix_ns=TIME + 10**15,
        code="sha256:" + "21" * 32,
        environment="sha256:" + "33" * 32,
        attributes={"region": "eu"},
    )
    assert deployment == examples.FULL["deployment"].SerializeToString()


def test_attestations_are_signed_for_one_ledger() -> None:
    entry = statement.attestation(
        subject="sha256:" + "32" * 32,
        predicate_type="https://example.com/review/v1",
        predicate=b'{"passed":true}',
        attester="reviewer@example.com",
        time_unix_ns=TIME,
        signer=examples.PRODUCER,
        origin=examples.ORIGIN,
    )
    assert entry == examples.FULL["attestation"].SerializeToString()
    parsed = parse_entry(entry).attestation
    assert statement.check_attestation_signature(parsed, examples.ORIGIN)
    with pytest.raises(SignatureError):
        statement.check_attestation_signature(parsed, "example.com/ledger/other")
    other = pb.Attestation(body=parsed.body, signature=SigningKey.generate().sign(parsed.body))
    with pytest.raises(SignatureError):
        statement.check_attestation_signature(other, examples.ORIGIN)
    unsigned = statement.attestation(subject=DIGEST, predicate_type="x", time_unix_ns=1)
    assert not statement.check_attestation_signature(parse_entry(unsigned).attestation, examples.ORIGIN)
    halves: list[dict[str, Any]] = [{"signer": examples.PRODUCER}, {"origin": examples.ORIGIN}]
    for half in halves:
        with pytest.raises(MalformedEntryError, match="both or none"):
            statement.attestation(subject=DIGEST, predicate_type="x", time_unix_ns=1, **half)


@given(
    attributes=st.dictionaries(
        st.text(min_size=1, max_size=9), st.text(max_size=9) | st.integers() | st.floats() | st.booleans() | st.none()
    ),
    files=st.lists(st.sampled_from(["a", "b", "a/b", "a.b", "\u00e9", "\U0001f600", "\uffff"]), unique=True),
)
@settings(deadline=None)
def test_whatever_is_built_is_sorted_and_accepted(attributes: dict[str, Any], files: list[str]) -> None:
    try:
        entry = statement.artifact(
            kind="dataset",
            digest=DIGEST,
            name="x",
            attributes=attributes,
            files=[ManifestFile(path, bytes(32), 0) for path in files],
        )
    except MalformedEntryError:
        return
    assert check_entry(entry) == 3
    parsed = parse_entry(entry).artifact
    assert sorted(file.path for file in parsed.files) == sorted(files)
    for attribute in parsed.attributes:
        value = attributes[attribute.name]
        assert attribute.value == value if isinstance(value, str) else json.loads(attribute.value) == value


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"kind": "file"}, "kind 'file' is unknown; known are dataset, code"),
        ({"digest": "ab" * 32}, "is not a digest"),
        ({"digest": None}, "artifact.digest: is missing"),
        ({"digest": pb.Digest(value=bytes(32))}, "artifact.digest.algorithm: is missing"),
        ({"name": ""}, "artifact.name: is missing"),
        ({"name": "x" * 256}, "artifact.name: is 256 bytes"),
        ({"name": "a\0"}, r"artifact.name: holds U\+0000"),
        ({"name": "\ud800"}, "artifact: .*surrogates not allowed"),
        ({"name": 5}, "artifact: "),
        ({"size_bytes": -1}, "artifact: "),
        ({"size_bytes": 2**64}, "artifact: "),
        ({"attributes": {"a": float("nan")}}, "attribute 'a': .*give it as text"),
        ({"attributes": {"a": [object()]}}, "attribute 'a': .*give it as text"),
        ({"attributes": {"\ud800": "x"}}, "attribute: "),
        ({"attributes": {"": "x"}}, r"artifact.attributes\[0\].name: is missing"),
        ({"attributes": {str(i): "x" for i in range(1_025)}}, r"artifact.attributes\[1024\]: is one too many"),
        ({"files": [ManifestFile("a", bytes(32), 1)] * 2}, r"artifact.files\[1\]: is not above"),
        ({"files": [ManifestFile("../a", bytes(32), 1)]}, r"artifact.files\[0\].path: has an empty"),
        ({"files": [ManifestFile("a", bytes(31), 1)]}, "32 bytes, not 31"),
        ({"code": statement.code_state(commit="sha1:" + "0" * 40)}, "artifact.code: is present; only"),
    ],
)
def test_what_is_refused(fields: dict[str, Any], problem: str) -> None:
    good: dict[str, Any] = {"kind": "model", "digest": DIGEST, "name": "x"}
    statement.artifact(**good)
    with pytest.raises(MalformedError, match=problem):
        statement.artifact(**good | fields)


@pytest.mark.parametrize("kind", sorted(examples.FULL))
def test_any_entry_reads_as_plain_data(kind: str) -> None:
    entry = examples.FULL[kind].SerializeToString()
    described = describe.describe(entry)
    assert json.loads(json.dumps(described)) == described
    assert list(described) == ["kind", "leaf_hash", kind]
    assert described["leaf_hash"] == hashlib.sha256(b"\0" + entry).hexdigest()
    with pytest.raises(MalformedEntryError):
        describe.describe(entry + b"\0")


def test_what_a_reader_sees() -> None:
    prediction = describe.describe(examples.FULL["prediction"].SerializeToString())["prediction"]
    assert prediction == {
        "binding_row": 1,
        "request_id": bytes(range(16)).hex(),
        "input_commitment": "aa" * 32,
        "output_commitment": "bb" * 32,
        "start_time_unix_ns": "2026-09-21T14:13:20.123456789Z",
        "duration_us": 1_500,
        "status_code": 0,
    }
    artifact = describe.describe(examples.FULL["artifact"].SerializeToString())["artifact"]
    assert artifact["files"][1] == {"path": "b/c.py", "size_bytes": 0, "digest": "sampled:crc32:01020304"}
    assert artifact["code"]["dirty"] is True
    assert artifact["attributes"][1] == {"name": "\u00e9"}
    conflict = describe.describe(examples.FULL["conflict"].SerializeToString())["conflict"]
    body = conflict["first_seal"]["seal"]["body"]
    assert body["lost"][0] == {"first": 1_003, "count": 2}
    assert "chain_nonce" not in body
    first = pb.Entry(seal=examples.seal(examples.first_seal_body())).SerializeToString()
    assert describe.describe(first)["seal"]["body"]["batch_sequence"] == 0


def test_times() -> None:
    assert describe.format_time(1) == "1970-01-01T00:00:00.000000001Z"
    assert describe.format_time(2**64 - 1) == "2554-07-21T23:34:33.709551615Z"


@given(entry=entries)
@settings(deadline=None)
def test_random_entries_read_as_plain_data(entry: bytes) -> None:
    json.dumps(describe.describe(entry))
