"""A small ledger in this process, to inject faults that a real one cannot be made to have.

It holds every batch to its seal and its chain with the same pure functions as the real one, keeps all entries in one
list, and signs honest checkpoints. The faults are in `Faults`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass, field

import grpc

from lineage_ledger import kernel
from lineage_ledger.errors import LineageError, SealError
from lineage_ledger.formats import merkle, packed, seal
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.keys import SigningKey
from lineage_ledger.formats.note import Signer
from lineage_ledger.formats.prediction import PredictionId
from lineage_ledger.v1 import append_pb2, append_pb2_grpc, entry_pb2, errors_pb2, proofs_pb2

ORIGIN = "ledger.test/emitter"


@dataclass
class Faults:
    """What goes wrong; each may be changed while the ledger runs."""

    delay_s: float = 0.0
    """Before each acknowledgement."""
    lose_acknowledgement: Callable[[int], bool] = lambda batches: False
    """Given how many batches were taken: take this one, and end the stream instead of answering."""
    drop_before: Callable[[int], bool] = lambda batches: False
    """Given how many batches were received: end the stream before taking this one."""
    refuse: Callable[[entry_pb2.SealBody], tuple[grpc.StatusCode, str] | None] = lambda body: None
    """Answer this status and reason instead of taking the batch."""
    tamper: Callable[[append_pb2.AppendStreamResponse], None] = lambda response: None
    """Change what is answered."""
    promise: append_pb2.Promise = append_pb2.PROMISE_PUBLISHED
    """What acknowledgements say."""


@dataclass
class _Chain:
    public_key: bytes
    batches: list[tuple[bytes, int, int]] = field(default_factory=list)
    """Hash of each seal, index of its batch's first entry, index of the seal."""
    next_number: int = 0
    closed: bool = False


class _RefusedError(Exception):
    def __init__(self, status: grpc.StatusCode, reason: str, message: str, **metadata: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.metadata = status, reason, metadata


class Tree:
    """The hashes of all perfect subtrees (`merkle.HashReader`)."""

    def __init__(self) -> None:
        self._levels: list[list[bytes]] = [[]]

    @property
    def size(self) -> int:
        """Leaves."""
        return len(self._levels[0])

    def grow(self, leaf_hashes: bytes) -> None:
        """Add leaves by their hashes, 32 bytes each."""
        for place in range(0, len(leaf_hashes), merkle.HASH_SIZE):
            found, level = leaf_hashes[place : place + merkle.HASH_SIZE], 0
            self._levels[0].append(found)
            while len(self._levels[level]) % 2 == 0:
                found = merkle.node_hash(*self._levels[level][-2:])
                level += 1
                if level == len(self._levels):
                    self._levels.append([])
                self._levels[level].append(found)

    def read_hashes(self, coordinates: Sequence[tuple[int, int]]) -> list[bytes]:
        return [self._levels[level][n] for level, n in coordinates]


class FakeLedger(append_pb2_grpc.AppendServiceServicer):
    """`target` is where it listens, `vkey` its verifier key, `entries` what it holds."""

    def __init__(self, target: str = "127.0.0.1:0") -> None:
        self.faults = Faults()
        self.signer = Signer(ORIGIN, SigningKey.generate())
        self.vkey = str(self.signer.verifier)
        self.entries: list[bytes] = []
        self.seals: list[tuple[int, seal.ParsedSeal]] = []
        self.chains: dict[bytes, _Chain] = {}
        self.key_history = proofs_pb2.KeyHistory()
        self.received = 0
        self.duplicates = 0
        self.tree = Tree()
        self._lock = threading.Lock()
        self._server: grpc.Server | None = None
        self.target = target
        self.start()

    def start(self) -> None:
        """Listen (again) at `target`."""
        server = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
        append_pb2_grpc.add_AppendServiceServicer_to_server(self, server)
        port = server.add_insecure_port(self.target)
        if not self.target.startswith("unix:"):
            self.target = f"127.0.0.1:{port}"
        server.start()
        self._server = server

    def stop(self) -> None:
        """Break all connections; nothing that was taken is forgotten."""
        if self._server is not None:
            self._server.stop(0).wait()
            self._server = None

    # -- the service -----------------------------------------------------------------------------------------

    def AppendStream(  # noqa: N802  (the contract's name)
        self, requests: Iterator[append_pb2.AppendStreamRequest], context: grpc.ServicerContext
    ) -> Iterator[append_pb2.AppendStreamResponse]:
        prove, known_size = False, None
        for request in requests:
            if known_size is None:
                prove, known_size = request.options.prove, request.options.known_tree_size
            response = append_pb2.AppendStreamResponse()
            for batch in request.packed_batches:
                with self._lock:
                    self.received += 1
                    if self.faults.drop_before(self.received):
                        context.abort(grpc.StatusCode.UNAVAILABLE, "the connection was dropped")
                    try:
                        response.acknowledgements.append(self._take(batch))
                    except _RefusedError as refused:
                        _abort(context, refused)
                    response.checkpoint = self.checkpoint()
                    size = self.tree.size
                    if self.faults.lose_acknowledgement(self.received):
                        context.abort(grpc.StatusCode.UNAVAILABLE, "the acknowledgement was lost")
            if self.faults.delay_s:
                time.sleep(self.faults.delay_s)
            if prove:
                with self._lock:
                    self.prove(response, known_size, size)
                known_size = size
            self.faults.tamper(response)
            yield response

    def GetLedger(  # noqa: N802
        self, request: append_pb2.GetLedgerRequest, context: grpc.ServicerContext
    ) -> append_pb2.GetLedgerResponse:
        return append_pb2.GetLedgerResponse(
            origin=self.signer.name, verifier_key=str(self.signer.verifier), key_history=self.key_history
        )

    def prove(self, response: append_pb2.AppendStreamResponse, known_size: int, size: int) -> None:
        """Put honest proofs into a response under the checkpoint of `size`."""
        for said in response.acknowledgements:
            said.range_proof[:] = merkle.range_proof(said.first_index, said.seal_index + 1, size, self.tree)
        proof = merkle.consistency_proof(known_size, size, self.tree) if 0 < known_size < size else []
        response.consistency_proof[:] = proof

    def _take(self, batch: bytes) -> append_pb2.Acknowledgement:
        try:
            scanned = kernel.scan(batch)
            _, offset, length = scanned.others[-1]
            parsed = seal.parse_seal(batch[offset : offset + length])
            seal.check_seal(parsed, ORIGIN)
            hashes = scanned.leaf_hashes[: -merkle.HASH_SIZE]
            only_seal = scanned._replace(others=())
            seal.check_batch(parsed, only_seal, kernel.tree_root(hashes))
        except SealError as error:
            raise _RefusedError(grpc.StatusCode.INVALID_ARGUMENT, error.reason, str(error)) from error
        except LineageError as error:
            raise _RefusedError(grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_BATCH", str(error)) from error
        refused = self.faults.refuse(parsed.body)
        if refused is not None:
            raise _RefusedError(*refused, "as the test asked")
        return self._log(batch, parsed)

    def _log(self, batch: bytes, parsed: seal.ParsedSeal) -> append_pb2.Acknowledgement:
        body = parsed.body
        chain = self.chains.get(body.chain_id)
        if chain is None:
            if body.batch_sequence:
                raise _gap(0)
            chain = self.chains[body.chain_id] = _Chain(body.public_key)
        if body.batch_sequence < len(chain.batches):
            known, first, seal_index = chain.batches[body.batch_sequence]
            if known != parsed.entry_hash:
                raise _RefusedError(grpc.StatusCode.ABORTED, "SEQUENCE_CONFLICT", "another content was signed")
            self.duplicates += 1
            return self._acknowledge(body, first, seal_index, duplicate=True)
        if chain.closed:
            raise _RefusedError(grpc.StatusCode.FAILED_PRECONDITION, "CHAIN_ENDED", "the chain was closed")
        if body.batch_sequence > len(chain.batches):
            raise _gap(len(chain.batches))
        if body.first_number != chain.next_number:
            raise _RefusedError(grpc.StatusCode.INVALID_ARGUMENT, "NUMBER_MISMATCH", "numbers do not go on")
        if chain.batches and body.previous_seal_hash != chain.batches[-1][0]:
            raise _RefusedError(grpc.StatusCode.INVALID_ARGUMENT, "LINK_MISMATCH", "the link is wrong")
        first = len(self.entries)
        self.entries += packed.split(batch)
        seal_index = len(self.entries) - 1
        chain.batches.append((parsed.entry_hash, first, seal_index))
        chain.next_number = seal.next_number(body)
        chain.closed = body.closing
        self.seals.append((seal_index, parsed))
        self.tree.grow(kernel.leaf_hashes(batch))
        return self._acknowledge(body, first, seal_index, duplicate=False)

    def _acknowledge(
        self, body: entry_pb2.SealBody, first: int, seal_index: int, *, duplicate: bool
    ) -> append_pb2.Acknowledgement:
        return append_pb2.Acknowledgement(
            chain_id=body.chain_id,
            batch_sequence=body.batch_sequence,
            first_index=first,
            seal_index=seal_index,
            duplicate=duplicate,
            promise=self.faults.promise,
        )

    def checkpoint(self) -> bytes:
        """The newest, signed."""
        size = self.tree.size
        return Checkpoint(self.signer.name, size, merkle.root_of(size, self.tree)).sign(self.signer)

    # -- for tests -------------------------------------------------------------------------------------------

    def resolve(self, prediction_id: PredictionId) -> entry_pb2.Prediction | None:
        """The prediction with that id, by arithmetic over the seals; None if it was declared lost.

        Raises KeyError if no seal accounts for it.
        """
        for index, parsed in self.seals:
            body = parsed.body
            if body.chain_id == prediction_id.chain_id and body.first_number <= prediction_id.number < seal.next_number(
                body
            ):
                place = seal.place_of(body, prediction_id.number)
                if place is None:
                    return None
                prediction = entry_pb2.Entry.FromString(self.entries[index - body.count + place]).prediction
                assert prediction.input_commitment[:4] == prediction_id.input_prefix
                return prediction
        raise KeyError(str(prediction_id))

    def resolver(self) -> dict[PredictionId, entry_pb2.Prediction]:
        """Every prediction by its id."""
        found: dict[PredictionId, entry_pb2.Prediction] = {}
        for index, parsed in self.seals:
            for place in range(parsed.body.count):
                entry = entry_pb2.Entry.FromString(self.entries[index - parsed.body.count + place])
                if entry.WhichOneof("kind") == "prediction":
                    number = seal.number_at(parsed.body, place)
                    commitment = entry.prediction.input_commitment
                    found[PredictionId(parsed.body.chain_id, number, commitment[:4])] = entry.prediction
        return found

    def bodies(self, chain_id: bytes | None = None) -> list[entry_pb2.SealBody]:
        """The seals' bodies in order, of one chain or all."""
        return [parsed.body for _, parsed in self.seals if chain_id in (None, parsed.body.chain_id)]


def _gap(expected: int) -> _RefusedError:
    return _RefusedError(
        grpc.StatusCode.FAILED_PRECONDITION,
        "SEQUENCE_GAP",
        f"batch {expected} comes next",
        expected_sequence=str(expected),
    )


def _abort(context: grpc.ServicerContext, refused: _RefusedError) -> None:
    status = errors_pb2.Status(code=refused.status.value[0], message=str(refused))
    info = errors_pb2.ErrorInfo(reason=refused.reason, domain="lineage-ledger", metadata=refused.metadata)
    status.details.add(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=info.SerializeToString())
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(refused.status, str(refused))
