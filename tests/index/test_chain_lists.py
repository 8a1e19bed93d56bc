"""Lists of chains while the indexes lag behind what is published, or say what is not so."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineage_ledger.v1 import proofs_pb2
from lineage_ledger_server.errors import CorruptValueError, RefusedError
from lineage_ledger_server.services import chains as chains_module
from lineage_ledger_server.services.chains import Chains
from lineage_ledger_server.store.index_store import IndexWrite, Posting, PostingRow
from tests.index.served_log import ServedLog
from tests.trace.small_ledger import SmallLedger


def test_no_chain_is_left_out_because_it_is_not_indexed_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains_module, "INDEX_WAIT_S", 0.01)
    ledger = SmallLedger()
    first = ledger.register("server")
    ledger.block()
    log = ServedLog(ledger, tmp_path)
    log.index()
    second = ledger.open_another(first, "second", first.chain_id)
    ledger.block()
    log.publish(index=False)
    chains = Chains(log.reader, log.indexer.lookup)
    request = proofs_pb2.ListChainsRequest(public_key=first.key.public_key)
    with pytest.raises(RefusedError) as caught:
        chains.page(request, lambda: None)
    assert caught.value.reason == "INDEX_BEHIND"
    log.index()
    found = {chain.chain_id: chain.successor_chain_id for chain in chains.page(request, lambda: None).chains}
    assert found == {first.chain_id: second.chain_id, second.chain_id: b""}
    log.close()


def test_a_recovery_that_the_seal_does_not_bear_out_is_decay(tmp_path: Path) -> None:
    ledger = SmallLedger()
    chain = ledger.register("server")
    ledger.block()
    log = ServedLog(ledger, tmp_path)
    log.index()
    position = log.indexer._store.position()
    row = PostingRow(Posting.RECOVERED, chain.chain_id + chain.key.public_key, chain.first_seal_index)
    log.indexer._store.commit(IndexWrite(position, position, [row], {}, []))
    wanted = proofs_pb2.ChainRange(chain_id=chain.chain_id)
    with pytest.raises(CorruptValueError, match="have them made again"):
        Chains(log.reader, log.indexer.lookup).receipt(wanted, log.reader.head(), lambda: None)
    log.close()
