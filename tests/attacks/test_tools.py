"""The attackers' tools are good: what they write without an attack, nobody can tell from the honest ledger."""

from __future__ import annotations

from pathlib import Path

from lineage_ledger.chain_receipts import verify_chain_receipt
from lineage_ledger.receipts import verify_receipt
from tests.attacks.auditing import audited_data, audited_folder
from tests.attacks.between import between
from tests.attacks.honest import HonestLedger, append, predictions
from tests.attacks.operator import Operator
from tests.support.server import RunningServer


def test_an_operator_who_changes_nothing_is_not_noticed(honest: HonestLedger, tmp_path: Path) -> None:
    operator = Operator(honest.data)
    operator.relink()
    data = operator.write(tmp_path / "ledger")
    assert operator.checkpoint() == honest.kept
    assert audited_data(data, honest.verifier, honest.kept).exit_status == 0
    assert audited_folder(operator.export(tmp_path / "public"), honest.verifier, honest.kept).exit_status == 0
    assert verify_receipt(operator.receipt(honest.prediction), honest.verifier).prediction_id == honest.prediction
    assert operator.receipt(honest.prediction) == honest.receipt
    assert len(verify_chain_receipt(operator.chain_receipt(honest.bank.chain_id), honest.verifier).seals) == 4
    with RunningServer(data) as server, between(server.address, {}) as address:
        with honest.client(address, tmp_path / "file") as client:
            assert client.get_prediction(honest.prediction).prediction_id == honest.prediction
            bank, _ = honest.producers()
            append(server, predictions(bank, 2, "more"))
            assert client.receipt(honest.prediction)
        server.stop()
    assert audited_data(data, honest.verifier, honest.kept).exit_status == 0


def test_batches_that_he_logs_by_the_rules_are_right(honest: HonestLedger, tmp_path: Path) -> None:
    """So what is found of others is found for what they are."""
    operator = Operator(honest.data)
    bank, hospital = honest.producers()
    operator.log(predictions(bank, 3, "more"), predictions(hospital, 2, "more"))
    operator.log(predictions(bank, 1, "more"))
    data = operator.write(tmp_path / "ledger")
    assert audited_data(data, honest.verifier, honest.kept).exit_status == 0
