"""A valid entry of every kind, for the tests of formats and for the vectors."""

from __future__ import annotations

from collections.abc import Mapping

from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.seal import chain_id
from lineage_ledger.v1 import entry_pb2 as pb

ORIGIN = "example.com/ledger/test"
PRODUCER = SigningKey.from_seed(bytes([1]) * 32)
ADMIN = SigningKey.from_seed(bytes([2]) * 32)
LEDGER = SigningKey.from_seed(bytes([3]) * 32)
NEW_LEDGER = SigningKey.from_seed(bytes([4]) * 32)
NONCE = bytes(range(32))
TIME = 1_790_000_000_123_456_789


ARTIFACT_KINDS = (
    pb.ARTIFACT_KIND_DATASET,
    pb.ARTIFACT_KIND_CODE,
    pb.ARTIFACT_KIND_ENVIRONMENT,
    pb.ARTIFACT_KIND_MODEL,
    pb.ARTIFACT_KIND_OTHER,
)


def signed(key: SigningKey, context: str, body: bytes) -> bytes:
    """Ed25519 over context, origin and body, as every signature of the format is made."""
    return key.sign(f"lineage-ledger/{context}/v1\n{ORIGIN}\n".encode() + body)


def sha256(byte: int) -> pb.Digest:
    return pb.Digest(algorithm=pb.DIGEST_ALGORITHM_SHA256, value=bytes([byte]) * 32)


def prediction() -> pb.Prediction:
    return pb.Prediction(
        binding_row=1,
        request_id=bytes(range(16)),
        input_commitment=b"\xaa" * 32,
        output_commitment=b"\xbb" * 32,
        start_time_unix_ns=TIME,
        duration_us=1_500,
    )


def first_seal_body() -> pb.SealBody:
    return pb.SealBody(
        public_key=PRODUCER.public_key,
        chain_id=chain_id(ORIGIN, PRODUCER.public_key, NONCE),
        root=bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        sealed_time_unix_ns=TIME,
        chain_nonce=NONCE,
        predecessor=pb.Predecessor(chain_id=b"\x0c" * 16, next_number=300),
    )


def seal_body() -> pb.SealBody:
    return pb.SealBody(
        public_key=PRODUCER.public_key,
        chain_id=chain_id(ORIGIN, PRODUCER.public_key, NONCE),
        batch_sequence=7,
        first_number=1_000,
        count=300,
        root=b"\x0d" * 32,
        previous_seal_hash=b"\x0e" * 32,
        earliest_start_time_unix_ns=TIME - 5,
        latest_start_time_unix_ns=TIME,
        sealed_time_unix_ns=TIME + 9,
        lost=[pb.NumberRange(first=1_003, count=2), pb.NumberRange(first=1_010, count=1)],
        bindings=[pb.Binding(deployment_hash=b"\x0f" * 32, count=299), pb.Binding(deployment_hash=b"\x10" * 32)],
        closing=True,
    )


def seal(body: pb.SealBody) -> pb.Seal:
    encoded = body.SerializeToString()
    return pb.Seal(body=encoded, signature=signed(PRODUCER, "seal", encoded))


def seal_entry(body: pb.SealBody) -> bytes:
    return pb.Entry(seal=seal(body)).SerializeToString()


def artifact() -> pb.Artifact:
    return pb.Artifact(
        kind=pb.ARTIFACT_KIND_CODE,
        digest=sha256(0x21),
        name="scoring",
        version="1.4.0",
        uri="https://example.com/scoring.git",
        size_bytes=123_456,
        media_type="application/vnd.git",
        files=[
            pb.File(path="a.py", size_bytes=100, digest=sha256(0x22)),
            pb.File(
                path="b/c.py", digest=pb.Digest(algorithm=pb.DIGEST_ALGORITHM_CRC32, value=b"\1\2\3\4", sampled=True)
            ),
        ],
        code=pb.Code(
            repository="https://example.com/scoring.git",
            commit=pb.Digest(algorithm=pb.DIGEST_ALGORITHM_SHA1, value=b"\x23" * 20),
            branch="main",
            dirty=True,
            diff=sha256(0x24),
        ),
        attributes=[pb.Attribute(name="café", value="1"), pb.Attribute(name="é")],
        created_time_unix_ns=TIME,
    )


def run() -> pb.Run:
    return pb.Run(
        kind=pb.RUN_KIND_TRAINING,
        run_id="run-17",
        name="train",
        inputs=[pb.ArtifactReference(digest=sha256(0x31), role="training"), pb.ArtifactReference(digest=sha256(0x30))],
        outputs=[pb.ArtifactReference(digest=sha256(0x32), role="model")],
        parameters=[pb.Attribute(name="depth", value="6"), pb.Attribute(name="rate", value="0.1")],
        code=sha256(0x21),
        environment=sha256(0x33),
        start_time_unix_ns=TIME,
        end_time_unix_ns=TIME + 10**12,
        metrics=[pb.Attribute(name="auc", value="0.93")],
        command="python train.py --depth 6",
    )


def deployment() -> pb.Deployment:
    return pb.Deployment(
        name="scoring-eu",
        model=sha256(0x32),
        configuration=sha256(0x41),
        image=sha256(0x42),
        server="kserve 0.21.0",
        endpoint="https://example.com/v2/models/scoring",
        valid_from_unix_ns=TIME,
        valid_until_unix_ns=TIME + 10**15,
        code=sha256(0x21),
        environment=sha256(0x33),
        attributes=[pb.Attribute(name="region", value="eu")],
    )


def attestation_body() -> pb.AttestationBody:
    return pb.AttestationBody(
        subject=sha256(0x32),
        predicate_type="https://example.com/review/v1",
        predicate=b'{"passed":true}',
        attester="reviewer@example.com",
        public_key=PRODUCER.public_key,
        time_unix_ns=TIME,
    )


def attestation() -> pb.Attestation:
    body = attestation_body().SerializeToString()
    return pb.Attestation(body=body, signature=signed(PRODUCER, "attestation", body))


def genesis() -> pb.Genesis:
    return pb.Genesis(
        format_version=1,
        origin=ORIGIN,
        ledger_public_key=LEDGER.public_key,
        admin_public_keys=sorted([ADMIN.public_key, PRODUCER.public_key]),
        time_unix_ns=TIME,
    )


def block() -> pb.Block:
    return pb.Block(number=300, time_unix_ns=TIME, previous_block_hash=b"\x51" * 32)


def producer_registered() -> pb.ProducerRegistered:
    key = PRODUCER.public_key
    body = pb.ProducerRegistration(public_key=key, name="scoring", time_unix_ns=TIME).SerializeToString()
    return pb.ProducerRegistered(
        body=body,
        possession_signature=signed(PRODUCER, "possession", key),
        admin_public_key=ADMIN.public_key,
        admin_signature=signed(ADMIN, "registration", body),
    )


def producer_retired() -> pb.ProducerRetired:
    body = pb.ProducerRetirement(public_key=PRODUCER.public_key, last_block=400, time_unix_ns=TIME).SerializeToString()
    return pb.ProducerRetired(
        body=body, admin_public_key=ADMIN.public_key, admin_signature=signed(ADMIN, "retirement", body)
    )


def producer_compromised() -> pb.ProducerCompromised:
    body = pb.ProducerCompromise(
        public_key=PRODUCER.public_key, suspect_since_unix_ns=TIME - 10**12, time_unix_ns=TIME
    ).SerializeToString()
    return pb.ProducerCompromised(
        body=body, admin_public_key=ADMIN.public_key, admin_signature=signed(ADMIN, "compromise", body)
    )


def conflict() -> pb.Conflict:
    first, second = seal_body(), seal_body()
    second.root = b"\x61" * 32
    return pb.Conflict(first_seal=seal_entry(first), second_seal=seal_entry(second))


def removal() -> pb.Removal:
    body = pb.RemovalBody(
        policy="ninety days",
        ranges=[pb.IndexRange(count=5), pb.IndexRange(first=6, count=1), pb.IndexRange(first=1_000, count=256)],
        time_unix_ns=TIME,
    ).SerializeToString()
    return pb.Removal(body=body, admin_public_key=ADMIN.public_key, admin_signature=signed(ADMIN, "removal", body))


def ledger_key() -> pb.LedgerKey:
    body = pb.LedgerKeyChange(
        old_public_key=LEDGER.public_key, new_public_key=NEW_LEDGER.public_key, time_unix_ns=TIME
    ).SerializeToString()
    return pb.LedgerKey(
        body=body,
        old_signature=signed(LEDGER, "ledger-key", body),
        new_signature=signed(NEW_LEDGER, "ledger-key", body),
        admin_public_key=ADMIN.public_key,
        admin_signature=signed(ADMIN, "ledger-key", body),
    )


FULL: Mapping[str, pb.Entry] = {
    "prediction": pb.Entry(prediction=prediction()),
    "seal": pb.Entry(seal=seal(seal_body())),
    "artifact": pb.Entry(artifact=artifact()),
    "run": pb.Entry(run=run()),
    "deployment": pb.Entry(deployment=deployment()),
    "attestation": pb.Entry(attestation=attestation()),
    "genesis": pb.Entry(genesis=genesis()),
    "block": pb.Entry(block=block()),
    "producer_registered": pb.Entry(producer_registered=producer_registered()),
    "producer_retired": pb.Entry(producer_retired=producer_retired()),
    "producer_compromised": pb.Entry(producer_compromised=producer_compromised()),
    "conflict": pb.Entry(conflict=conflict()),
    "removal": pb.Entry(removal=removal()),
    "ledger_key": pb.Entry(ledger_key=ledger_key()),
}
"""One entry of each kind, with as many fields as can be present together."""
