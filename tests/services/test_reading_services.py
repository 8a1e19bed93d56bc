"""EntryService, ProofService and TraceService over a real connection, against a ledger whose every entry is known."""

from __future__ import annotations

import base64
import random
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
import pytest

from lineage_ledger.formats import merkle, packed, statement
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.prediction import PredictionId
from lineage_ledger.formats.tlog_proof import TlogProof
from lineage_ledger.receipts import verify_receipt
from lineage_ledger.trace import subject_of_index, walk
from lineage_ledger.v1 import (
    entries_pb2,
    entries_pb2_grpc,
    entry_pb2,
    errors_pb2,
    proofs_pb2,
    proofs_pb2_grpc,
    trace_pb2,
    trace_pb2_grpc,
)
from lineage_ledger_server.services import entries as entries_module
from lineage_ledger_server.services import find
from lineage_ledger_server.services import trace as trace_module
from lineage_ledger_server.services.access import ADMIN_POLICY
from lineage_ledger_server.services.entries import EntryService
from lineage_ledger_server.services.pages import encode_token
from lineage_ledger_server.services.proofs import ProofService
from lineage_ledger_server.services.trace import TraceService
from lineage_ledger_server.serving.endpoint import Endpoint, Health
from tests.index.served_log import ServedLog
from tests.trace.graphs import Demo, demo
from tests.trace.small_ledger import NaiveSource, SmallLedger, digest_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Stubs(NamedTuple):
    entries: Any
    proofs: Any
    trace: Any


class Served(NamedTuple):
    demo: Demo
    log: ServedLog
    stubs: Stubs

    @property
    def ledger(self) -> SmallLedger:
        return self.demo.ledger


def serve(log: ServedLog) -> tuple[Endpoint, grpc.Channel, Stubs]:
    server = Endpoint(ADMIN_POLICY, Health(), [], workers=4, max_calls=16)
    lookup = log.indexer.lookup
    server.add(entries_pb2_grpc.add_EntryServiceServicer_to_server, EntryService(log.reader, lookup))
    server.add(proofs_pb2_grpc.add_ProofServiceServicer_to_server, ProofService(log.reader, lookup))
    server.add(trace_pb2_grpc.add_TraceServiceServicer_to_server, TraceService(log.reader, lookup))
    port = server.bind("127.0.0.1:0", None)
    server.start()
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    stubs = Stubs(
        entries_pb2_grpc.EntryServiceStub(channel),
        proofs_pb2_grpc.ProofServiceStub(channel),
        trace_pb2_grpc.TraceServiceStub(channel),
    )
    return server, channel, stubs


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The demo, and more predictions by two producers of two deployments, in many blocks."""
    it = demo()
    rng = random.Random(5)
    other = it.ledger.register("other server")
    for _ in range(12):
        chain = rng.choice([it.server, other])
        count = rng.randint(1, 60)
        deployment_hash = rng.choice([it.deployment_hash, b"\x05" * 32])
        it.ledger.predictions(chain, count, deployment_hash, [rng.choice([b"again", b""]) for _ in range(count)])
        it.ledger.block()
    log = ServedLog(it.ledger, tmp_path_factory.mktemp("services"))
    log.index()
    server, channel, stubs = serve(log)
    yield Served(it, log, stubs)
    channel.close()
    server.begin_stop(0).result()
    server.close()
    log.close()


def refused(call: Any, request: Any) -> tuple[grpc.StatusCode, str]:
    """Status and reason of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        answer = call(request, timeout=10)
        if hasattr(answer, "__next__"):
            list(answer)
    error: Any = caught.value
    (details,) = (value for key, value in error.trailing_metadata() if key == "grpc-status-details-bin")
    (detail,) = errors_pb2.Status.FromString(details).details
    return error.code(), errors_pb2.ErrorInfo.FromString(detail.value).reason


class TestEntries:
    def test_get(self, served: Served) -> None:
        for index in (0, 1, 255, 256, served.ledger.size - 1):
            got = served.stubs.entries.GetEntry(entries_pb2.GetEntryRequest(index=index))
            assert got.entry == served.ledger.entries[index]

    @pytest.mark.parametrize("past", [0, 1, 2**63, 2**64 - 1])
    def test_get_past_the_end(self, past: int, served: Served) -> None:
        request = entries_pb2.GetEntryRequest(index=max(past, served.ledger.size + past if past < 2 else past))
        assert refused(served.stubs.entries.GetEntry, request) == (grpc.StatusCode.OUT_OF_RANGE, "INDEX_OUT_OF_RANGE")

    @pytest.mark.parametrize(("start", "end"), [(0, 0), (0, 1), (3, 3), (250, 520), (255, 257), (100, 0)])
    def test_stream(self, start: int, end: int, served: Served) -> None:
        request = entries_pb2.StreamEntriesRequest(start=start, end=end)
        got: list[bytes] = []
        for message in served.stubs.entries.StreamEntries(request):
            assert message.first_index == start + len(got)
            pieces = packed.split(message.packed)
            assert len(pieces) == message.count > 0
            got += pieces
        assert got == served.ledger.entries[start : end or served.ledger.size]

    def test_stream_refuses(self, served: Served) -> None:
        size = served.ledger.size
        stream = served.stubs.entries.StreamEntries
        backwards = entries_pb2.StreamEntriesRequest(start=5, end=4)
        assert refused(stream, backwards) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
        beyond = entries_pb2.StreamEntriesRequest(start=5, end=size + 1)
        assert refused(stream, beyond) == (grpc.StatusCode.OUT_OF_RANGE, "INDEX_OUT_OF_RANGE")

    def test_stream_cuts_messages(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also inside of a bundle that is larger than a message."""
        ledger = SmallLedger()
        chain = ledger.register("a")
        attributes = {f"{n:02}": "x" * 4_090 for n in range(15)}
        for _ in range(2):
            ledger.batch(
                chain,
                [
                    statement.artifact(kind="other", digest=digest_text(str(n)), name="d", attributes=attributes)
                    for n in range(60)
                ],
            )
        ledger.predictions(chain, 300, b"\x01" * 32)
        ledger.block()
        log = ServedLog(ledger, tmp_path)
        server, channel, stubs = serve(log)
        messages = list(stubs.entries.StreamEntries(entries_pb2.StreamEntriesRequest()))
        assert packed.split(b"".join(message.packed for message in messages)) == ledger.entries
        assert [m.first_index for m in messages[1:]] == [m.first_index + m.count for m in messages[:-1]]
        assert len(messages) == 4
        assert all(len(message.packed) <= 2 * 1024 * 1024 for message in messages)
        channel.close()
        server.begin_stop(0).result()
        server.close()
        log.close()

    def test_get_prediction(self, served: Served) -> None:
        for place in (0, 7, 299):
            request = entries_pb2.GetPredictionRequest(prediction_id=str(served.demo.predictions[place]))
            got = served.stubs.entries.GetPrediction(request).prediction
            index = served.demo.first_prediction + place
            assert got == entries_pb2.LoggedPrediction(
                prediction_id=request.prediction_id,
                index=index,
                entry=served.ledger.entries[index],
                seal_index=served.demo.first_prediction + 300,
                public_key=served.demo.server.key.public_key,
                deployment_hash=served.demo.deployment_hash,
                batch_proof=got.batch_proof,
                chain_nonce=served.demo.server.nonce,
            )
            sealed = served.ledger.sealed[index]
            leaf_hash, root = merkle.leaf_hash(got.entry), sealed.seal.body.root
            merkle.verify_inclusion(leaf_hash, place, sealed.seal.body.count, got.batch_proof, root)

    @pytest.mark.parametrize("text", ["", "x", "0" * 32 + "-01-" + "0" * 8, "0" * 32 + "-1-" + "0" * 7, "A" * 4_000])
    def test_malformed_id(self, text: str, served: Served) -> None:
        request = entries_pb2.GetPredictionRequest(prediction_id=text)
        expected = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ID")
        assert refused(served.stubs.entries.GetPrediction, request) == expected

    def test_unknown_id(self, served: Served) -> None:
        good = served.demo.predictions[0]
        for bad in (
            good._replace(chain_id=bytes(16)),
            good._replace(number=2**62),
            good._replace(input_prefix=bytes(4)),
        ):
            request = entries_pb2.GetPredictionRequest(prediction_id=str(bad))
            assert refused(served.stubs.entries.GetPrediction, request) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")

    def test_cancelled_stream_ends(self, served: Served) -> None:
        call = served.stubs.entries.StreamEntries(entries_pb2.StreamEntriesRequest())
        call.cancel()
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
        assert caught.value.code() is grpc.StatusCode.CANCELLED


def naive_find(ledger: SmallLedger, request: entries_pb2.FindPredictionsRequest) -> list[int]:
    times: dict[int, int] = {}
    waiting: list[int] = []
    for index, raw in enumerate(ledger.entries):
        waiting.append(index)
        entry = entry_pb2.Entry.FromString(raw)
        if entry.HasField("block"):
            times.update(dict.fromkeys(waiting, entry.block.time_unix_ns))
            waiting = []
    found = []
    for index, sealed in sorted(ledger.sealed.items()):
        entry = entry_pb2.Entry.FromString(sealed.entry)
        if (
            entry.HasField("prediction")
            and request.request_id in (b"", entry.prediction.request_id)
            and request.public_key in (b"", sealed.seal.body.public_key)
            and request.deployment_hash in (b"", sealed.deployment_hash(entry.prediction))
            and request.from_time_unix_ns <= times[index]
            and (not request.until_time_unix_ns or times[index] < request.until_time_unix_ns)
        ):
            found.append(index)
    return found


def all_pages(stubs: Stubs, request: entries_pb2.FindPredictionsRequest) -> list[int]:
    found: list[int] = []
    while True:
        page = stubs.entries.FindPredictions(request)
        assert len(page.predictions) <= (request.page_size or 100)
        found += [prediction.index for prediction in page.predictions]
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


class TestFind:
    @pytest.mark.parametrize("page_size", [3, 7, 0, 5_000])
    @pytest.mark.parametrize("key", ["", "server", "other server"])
    @pytest.mark.parametrize("criteria", ["", "id", "repeated id", "deployment", "time", "all"])
    def test_against_a_look_through_everything(self, criteria: str, key: str, page_size: int, served: Served) -> None:
        ledger = served.ledger
        request = entries_pb2.FindPredictionsRequest(page_size=page_size)
        keys = {name: public_key for public_key, name in ledger.names.items()}
        request.public_key = keys.get(key, b"")
        if criteria == "id":
            request.request_id = b"req-17"
        if criteria in ("repeated id", "all"):
            request.request_id = b"again"
        if criteria in ("deployment", "all"):
            request.deployment_hash = b"\x05" * 32
        if criteria in ("time", "all") or not (criteria or key):
            times = [
                entry_pb2.Entry.FromString(ledger.entries[g.block_index]).block.time_unix_ns for g in ledger.groups
            ]
            request.from_time_unix_ns, request.until_time_unix_ns = times[4], times[-3]
        assert all_pages(served.stubs, request) == naive_find(ledger, request)

    def test_pages_of_bounded_work(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        """A page that finds nothing ends, and says where to go on."""
        monkeypatch.setattr(find, "MAX_SCANNED", 50)
        request = entries_pb2.FindPredictionsRequest(from_time_unix_ns=1)
        assert all_pages(served.stubs, request) == naive_find(served.ledger, request)

    def test_empty_batches_cost_too(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A producer whose seals are mostly heartbeats does not make a page endless."""
        monkeypatch.setattr(find, "MAX_SCANNED", 20)
        ledger = SmallLedger()
        chain = ledger.register("a")
        for count in (0, 3, *[0] * 50, 2):
            ledger.predictions(chain, count, b"\x01" * 32)
        ledger.block()
        log = ServedLog(ledger, tmp_path)
        log.index()
        server, channel, stubs = serve(log)
        request = entries_pb2.FindPredictionsRequest(public_key=chain.key.public_key)
        page = stubs.entries.FindPredictions(request)
        assert (len(page.predictions), page.next_page_token != "") == (3, True)
        assert all_pages(stubs, request) == naive_find(ledger, request)
        channel.close()
        server.begin_stop(0).result()
        server.close()
        log.close()

    def test_index_behind_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(entries_module, "INDEX_WAIT_S", 0.02)
        ledger = SmallLedger()
        chain = ledger.register("a")
        ledger.predictions(chain, 3, b"\x01" * 32, [b"id"] * 3)
        ledger.block()
        log = ServedLog(ledger, tmp_path)
        log.index()
        size = ledger.size
        ledger.predictions(chain, 3, b"\x01" * 32, [b"id"] * 3)
        ledger.block()
        log.publish(index=False)
        server, channel, stubs = serve(log)
        request = entries_pb2.FindPredictionsRequest(request_id=b"id")
        page = stubs.entries.FindPredictions(request)
        assert (len(page.predictions), page.indexed_size) == (3, size)
        log.index()
        page = stubs.entries.FindPredictions(request)
        assert (len(page.predictions), page.indexed_size) == (6, ledger.size)
        channel.close()
        server.begin_stop(0).result()
        server.close()
        log.close()

    @pytest.mark.parametrize(
        "request_",
        [
            entries_pb2.FindPredictionsRequest(),
            entries_pb2.FindPredictionsRequest(page_size=5),
            entries_pb2.FindPredictionsRequest(request_id=b"x" * 65),
            entries_pb2.FindPredictionsRequest(public_key=b"x"),
            entries_pb2.FindPredictionsRequest(deployment_hash=b"x" * 33),
            entries_pb2.FindPredictionsRequest(from_time_unix_ns=5, until_time_unix_ns=5),
        ],
    )
    def test_bad_criteria(self, request_: entries_pb2.FindPredictionsRequest, served: Served) -> None:
        expected = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
        assert refused(served.stubs.entries.FindPredictions, request_) == expected

    def test_page_tokens_are_checked(self, served: Served) -> None:
        call = served.stubs.entries.FindPredictions
        request = entries_pb2.FindPredictionsRequest(request_id=b"again", page_size=1)
        token = call(request).next_page_token
        raw = base64.urlsafe_b64decode(token + "==")
        bad = ["x", token[:-1], token + "A", token + "=", token.replace(token[0], "*", 1), "\u00e9", token[::-1]]
        bad += [base64.urlsafe_b64encode(b"\2" + raw[1:]).decode().rstrip("=")]
        expected = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PAGE_TOKEN")
        for text in bad:
            request.page_token = text
            assert refused(call, request) == expected, text
        other = entries_pb2.FindPredictionsRequest(request_id=b"req-1", page_token=token)
        assert refused(call, other) == expected
        other = entries_pb2.FindPredictionsRequest(request_id=b"again", page_size=9, page_token=token)
        assert call(other).predictions


class TestProofs:
    def test_checkpoint(self, served: Served) -> None:
        note = served.stubs.proofs.GetCheckpoint(proofs_pb2.GetCheckpointRequest()).checkpoint
        assert Checkpoint.open(note, served.ledger.verifier).size == served.ledger.size

    @pytest.mark.parametrize("size", [0, 1, 300])
    def test_inclusion(self, size: int, served: Served) -> None:
        root = merkle.root_of(size or served.ledger.size, served.ledger.hashes())
        for index in (0, 200, 299, served.ledger.size - 1):
            request = proofs_pb2.GetInclusionProofRequest(index=index, tree_size=size)
            if size and index >= size:
                expected = (grpc.StatusCode.OUT_OF_RANGE, "INDEX_OUT_OF_RANGE")
                assert refused(served.stubs.proofs.GetInclusionProof, request) == expected
                continue
            got = served.stubs.proofs.GetInclusionProof(request)
            assert got.leaf_hash == merkle.leaf_hash(served.ledger.entries[index])
            merkle.verify_inclusion(got.leaf_hash, index, got.tree_size, list(got.hashes), root)
            assert bool(got.checkpoint) == (size == 0)

    def test_consistency(self, served: Served) -> None:
        leaves = served.ledger.hashes()
        for old, new in ((1, 0), (300, 0), (256, 512), (7, 7)):
            request = proofs_pb2.GetConsistencyProofRequest(old_size=old, new_size=new)
            got = served.stubs.proofs.GetConsistencyProof(request)
            old_root, new_root = merkle.root_of(old, leaves), merkle.root_of(got.new_size, leaves)
            merkle.verify_consistency(old, old_root, got.new_size, new_root, list(got.hashes))

    @pytest.mark.parametrize(
        ("old", "new", "reason"),
        [(0, 5, "INVALID_ARGUMENT"), (6, 5, "INVALID_ARGUMENT"), (5, 10**9, "INDEX_OUT_OF_RANGE")],
    )
    def test_consistency_refuses(self, old: int, new: int, reason: str, served: Served) -> None:
        request = proofs_pb2.GetConsistencyProofRequest(old_size=old, new_size=new)
        assert refused(served.stubs.proofs.GetConsistencyProof, request)[1] == reason

    def test_lineage_receipt(self, served: Served) -> None:
        request = proofs_pb2.GetReceiptRequest(prediction_id=str(served.demo.predictions[3]))
        data = served.stubs.proofs.GetReceipt(request).receipt
        assert verify_receipt(data, served.ledger.verifier).prediction_id == served.demo.predictions[3]

    def test_tlog_proof(self, served: Served) -> None:
        for index in (0, 5, served.ledger.size - 1):
            data = served.stubs.proofs.GetReceipt(proofs_pb2.GetReceiptRequest(index=index)).receipt
            TlogProof.parse(data).verify(served.ledger.entries[index], served.ledger.verifier)

    @pytest.mark.parametrize(
        ("request_", "reason"),
        [
            (proofs_pb2.GetReceiptRequest(), "INVALID_ARGUMENT"),
            (proofs_pb2.GetReceiptRequest(prediction_id="x"), "INVALID_ID"),
            (proofs_pb2.GetReceiptRequest(prediction_id=str(PredictionId(bytes(16), 1, bytes(4)))), "NOT_FOUND"),
            (proofs_pb2.GetReceiptRequest(index=10**9), "INDEX_OUT_OF_RANGE"),
        ],
    )
    def test_receipt_refuses(self, request_: proofs_pb2.GetReceiptRequest, reason: str, served: Served) -> None:
        assert refused(served.stubs.proofs.GetReceipt, request_)[1] == reason


class TestTrace:
    def whole(self, served: Served, request: trace_pb2.TraceRequest) -> list[trace_pb2.TraceNode]:
        nodes: list[trace_pb2.TraceNode] = []
        while True:
            page = served.stubs.trace.Trace(request)
            assert Checkpoint.open(page.checkpoint, served.ledger.verifier).size >= page.indexed_size
            nodes += page.nodes
            if not page.next_page_token:
                return nodes
            request.page_token = page.next_page_token

    def test_is_the_walk_over_everything(self, served: Served) -> None:
        index = served.demo.first_prediction + 3
        request = trace_pb2.TraceRequest(prediction_id=str(served.demo.predictions[3]))
        nodes = self.whole(served, request)
        expected = walk(NaiveSource(served.ledger), subject_of_index(index))
        assert len(nodes) == len(expected) == 12
        for node, want in zip(nodes, expected, strict=True):
            assert node.ordinal == want.ordinal
            assert [(e.from_ordinal, e.relation, e.role) for e in node.edges] == want.edges
            assert node.resolved == (want.index is not None)
            if want.index is not None:
                sealed = served.ledger.sealed[want.index]
                assert (node.index, node.entry, node.seal_index) == (want.index, sealed.entry, sealed.seal_index)
                assert node.public_key == sealed.seal.body.public_key
                assert node.producer_name == served.ledger.names[node.public_key]
            else:
                assert want.digest is not None
                assert entry_pb2.Digest.FromString(node.digest) == want.digest

    @pytest.mark.parametrize("page_size", [1, 2, 5, 12, 1_000, 2**32 - 1])
    def test_pages_equal_the_whole(self, page_size: int, served: Served) -> None:
        text = str(served.demo.predictions[3])
        whole = self.whole(served, trace_pb2.TraceRequest(prediction_id=text))
        assert self.whole(served, trace_pb2.TraceRequest(prediction_id=text, page_size=page_size)) == whole

    def test_pages_are_small_enough_to_send(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        text = str(served.demo.predictions[3])
        whole = self.whole(served, trace_pb2.TraceRequest(prediction_id=text))
        for most in (1, 300, 1_000):
            monkeypatch.setattr(trace_module, "MAX_PAGE_BYTES", most)
            page = served.stubs.trace.Trace(trace_pb2.TraceRequest(prediction_id=text))
            assert len(page.nodes) == 1 or sum(node.ByteSize() for node in page.nodes) <= most
            assert self.whole(served, trace_pb2.TraceRequest(prediction_id=text)) == whole

    def test_page_of_a_larger_log_than_this_reader_has(self, served: Served) -> None:
        request = trace_pb2.TraceRequest(prediction_id=str(served.demo.predictions[3]))
        request.page_token = encode_token(request, (1, served.ledger.size + 1))
        assert refused(served.stubs.trace.Trace, request) == (grpc.StatusCode.UNAVAILABLE, "INDEX_BEHIND")

    def test_by_index_and_by_digest(self, served: Served) -> None:
        index = served.demo.statements["model"]
        digest = entry_pb2.Entry.FromString(served.ledger.entries[index]).artifact.digest.value
        by_index = self.whole(served, trace_pb2.TraceRequest(index=index))
        by_digest = self.whole(served, trace_pb2.TraceRequest(artifact_digest=digest))
        assert by_index == by_digest
        assert by_index[0].index == index

    @pytest.mark.parametrize(
        ("request_", "reason"),
        [
            (trace_pb2.TraceRequest(), "INVALID_ARGUMENT"),
            (trace_pb2.TraceRequest(artifact_digest=b"x" * 31), "INVALID_ARGUMENT"),
            (trace_pb2.TraceRequest(artifact_digest=b"x" * 32), "NOT_FOUND"),
            (trace_pb2.TraceRequest(prediction_id=""), "INVALID_ID"),
            (trace_pb2.TraceRequest(index=0), "NOT_FOUND"),
            (trace_pb2.TraceRequest(index=3), "NOT_FOUND"),
            (trace_pb2.TraceRequest(index=10**9), "INDEX_OUT_OF_RANGE"),
            (trace_pb2.TraceRequest(index=20, page_token="x"), "INVALID_PAGE_TOKEN"),
        ],
    )
    def test_refuses(self, request_: trace_pb2.TraceRequest, reason: str, served: Served) -> None:
        assert refused(served.stubs.trace.Trace, request_)[1] == reason
