"""Ledgers with a lineage, for tests of trace, receipts and services."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lineage_ledger.formats import statement
from lineage_ledger.formats.merkle import leaf_hash
from tests.trace.small_ledger import ORIGIN, SmallLedger, digest_text, seeded_key

if TYPE_CHECKING:
    from lineage_ledger.formats.prediction import PredictionId
    from tests.trace.small_ledger import Chain


@dataclass
class Demo:
    """A model trained in one run from a dataset that another run made, deployed, and attested."""

    ledger: SmallLedger
    trainer: Chain
    server: Chain
    deployment_hash: bytes
    predictions: list[PredictionId]
    """Of the server's one batch with predictions; `first_prediction` is the index of the first."""
    first_prediction: int
    statements: dict[str, int]
    """Indexes by name."""


def demo(predictions: int = 300) -> Demo:
    ledger = SmallLedger()
    trainer = ledger.register("trainer")
    server = ledger.register("server")
    ledger.block()
    entries = {
        "raw": statement.artifact(kind="dataset", digest=digest_text("raw"), name="raw"),
        "clean": statement.artifact(kind="dataset", digest=digest_text("clean"), name="clean"),
        "code": statement.artifact(
            kind="code", digest=digest_text("code"), name="repo", code=statement.code_state(commit="sha1:" + "ab" * 20)
        ),
        "prepare": statement.run(
            kind="preprocessing",
            name="prepare",
            inputs=[(digest_text("raw"), "source")],
            outputs=[digest_text("clean")],
            code=digest_text("code"),
        ),
        "train": statement.run(
            kind="training",
            name="train",
            inputs=[(digest_text("clean"), "training"), (digest_text("never logged"), "validation")],
            outputs=[(digest_text("model"), "model")],
            parameters={"depth": 3},
            code=digest_text("code"),
            environment=digest_text("environment"),
        ),
        "environment": statement.artifact(kind="environment", digest=digest_text("environment"), name="pip freeze"),
        "model": statement.artifact(kind="model", digest=digest_text("model"), name="model"),
        "attestation": statement.attestation(
            subject=digest_text("model"),
            predicate_type="https://example.com/review/v1",
            time_unix_ns=ledger.tick(),
            attester="reviewer",
            signer=seeded_key("reviewer"),
            origin=ORIGIN,
        ),
        "unrelated": statement.artifact(kind="other", digest=digest_text("unrelated"), name="unrelated"),
    }
    deployment = statement.deployment(
        name="prod", model=digest_text("model"), configuration=digest_text("config"), code=digest_text("code")
    )
    indexes = dict(zip(entries, ledger.batch(trainer, list(entries.values())), strict=True))
    ledger.block()
    indexes["deployment"] = ledger.batch(server, [deployment])[0]
    ledger.block()
    first_prediction = ledger.size
    ids = ledger.predictions(server, predictions, leaf_hash(deployment), [b"req-%d" % n for n in range(predictions)])
    ledger.block()
    # What comes later must not change the answer about an artifact's first statement.
    ledger.batch(trainer, [statement.artifact(kind="model", digest=digest_text("model"), name="model, again")])
    ledger.block()
    return Demo(ledger, trainer, server, leaf_hash(deployment), ids, first_prediction, indexes)
