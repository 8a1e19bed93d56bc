"""`lineage verify --witness-policy`: without a quorum a receipt proves nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lineage_ledger.cli.app import lineage
from lineage_ledger.errors import QuorumError
from lineage_ledger.formats import keys, merkle
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.note import Cosigner, Note, Signer
from lineage_ledger.formats.tlog_proof import TlogProof
from lineage_ledger.formats.witness_policy import WitnessPolicy

LOG = Signer("example.com/log", keys.SigningKey.generate())
COSIGNERS = [Cosigner(f"w{n}.example", keys.SigningKey.generate()) for n in range(3)]
ENTRY = b"an entry"
TEXT = Checkpoint("example.com/log", 1, merkle.leaf_hash(ENTRY)).encode()
POLICY = "".join(f"witness W{n} {one.verifier}\n" for n, one in enumerate(COSIGNERS)) + "group g 2 W0 W1 W2\nquorum g\n"


def proof(*times: int) -> TlogProof:
    """Cosigned at `times`, by one witness after the other; 0: not by this one."""
    signatures = [LOG.sign(TEXT), *(one.cosign(TEXT, time) for one, time in zip(COSIGNERS, times) if time)]
    return TlogProof(0, (), Note(TEXT, tuple(signatures)).encode())


def verify(folder: Path, what: TlogProof, *options: str, policy: str = POLICY) -> Result:
    (folder / "proof").write_bytes(what.encode())
    (folder / "proof.entry").write_bytes(ENTRY)
    (folder / "policy").write_text(policy)
    command = ["verify", str(folder / "proof"), "--key", str(LOG.verifier), "--witness-policy", str(folder / "policy")]
    return CliRunner(env={"LINEAGE_CONFIG": None}).invoke(lineage, [*command, *options])


def test_with_a_quorum(tmp_path: Path) -> None:
    result = verify(tmp_path, proof(1_700_000_000, 0, 2**62))
    assert result.exit_code == 0, result.output
    assert "witnessed: by w0.example at 2023-11-14T22:13:20.000000000Z" in result.stdout
    assert "witnessed: by w2.example at 4611686018427387904 s after 1970" in result.stdout
    document = json.loads(verify(tmp_path, proof(1_700_000_000, 1_700_000_001, 0), "--json").stdout)
    assert [one["witness"] for one in document["cosignatures"]] == ["w0.example", "w1.example"]


def test_without_one(tmp_path: Path) -> None:
    result = verify(tmp_path, proof(1_700_000_000))
    assert result.exit_code == 1
    assert "W0 cosigned it, and 2 of W0, W1, W2 must" in result.stderr
    assert json.loads(verify(tmp_path, proof(), "--json").stderr)["error"]["kind"] == "QuorumError"


def test_a_policy_of_another_log_or_none_at_all(tmp_path: Path) -> None:
    other = Signer("example.com/log", keys.SigningKey.generate())
    assert verify(tmp_path, proof(1, 1), policy=f"log {other.verifier}\n{POLICY}").exit_code == 1
    assert verify(tmp_path, proof(1, 1), policy=f"log {LOG.verifier}\n{POLICY}").exit_code == 0
    nonsense = verify(tmp_path, proof(1, 1), policy=POLICY + "quorum W0\n")
    assert (nonsense.exit_code, "line 6" in nonsense.stderr) == (2, True)
    (tmp_path / "policy").unlink()
    command = ["verify", str(tmp_path / "proof"), "--key", str(LOG.verifier), "--witness-policy", "missing"]
    assert CliRunner().invoke(lineage, command).exit_code == 2


def test_the_proof_itself_asks_for_the_quorum() -> None:
    policy = WitnessPolicy.parse(POLICY.encode())
    assert proof(1, 1).verify(ENTRY, LOG.verifier, policy).size == 1
    with pytest.raises(QuorumError):
        proof(1).verify(ENTRY, LOG.verifier, policy)
