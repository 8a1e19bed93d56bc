"""The honest ledger that every attack begins with, made once by a real server, and what honest people keep of it."""

from __future__ import annotations

import copy
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lineage_ledger.client import Client
from lineage_ledger.emitter import Backoff, Emitter, Policy
from lineage_ledger.formats import keys
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.note import Note, Verifier
from lineage_ledger.formats.prediction import PredictionId
from lineage_ledger.monitor.monitor import Monitor
from lineage_ledger.monitor.view import Watched
from lineage_ledger.rpc import methods
from lineage_ledger.rpc.connection import Connection
from lineage_ledger.rpc.endpoint import Endpoint
from lineage_ledger.sources.folder import open_folder
from lineage_ledger.v1 import admin_pb2, append_pb2
from tests.monitor.watched_logs import monitor_of
from tests.support.producer import Producer, a_prediction, registration
from tests.support.server import RunningServer

ORIGIN = "example.com/ledger/honest"


@dataclass(frozen=True)
class HonestLedger:
    """A bank's model and a hospital's, each with a chain; the files of the ledger, which nobody serves now."""

    data: Path
    verifier: Verifier
    bank: Producer
    hospital: Producer
    prediction: PredictionId
    """The bank's number 4."""
    receipt: bytes
    """Its lineage receipt, as the bank's customer has it."""
    older: bytes
    """A checkpoint that the customer kept, from before the newest three batches."""
    kept: bytes
    """One over all that there is."""

    def producers(self) -> tuple[Producer, Producer]:
        """The bank and the hospital as they stand, to go on from."""
        return copy.copy(self.bank), copy.copy(self.hospital)

    def copy(self, root: Path) -> Path:
        """All of the files."""
        return Path(shutil.copytree(self.data, root, ignore=shutil.ignore_patterns("admin.sock")))

    def client(
        self, address: str, remembers: Path | None = None, kept: bytes | None = None, **options: float
    ) -> Client:
        """A client; one that `remembers` has `kept`, or all that there is, in that file."""
        if remembers is not None:
            remembers.write_bytes(self.kept if kept is None else kept)
        return Client(address, ledger=str(self.verifier), checkpoint_file=remembers, **options)

    def emitter(self, address: str, remembers: Path, kept: bytes | None = None) -> Emitter:
        """The bank's emitter after a restart; it remembers the newest checkpoint, or `kept`."""
        remembers.write_bytes(self.kept if kept is None else kept)
        policy = Policy(prove=True, exit_timeout_s=0, backoff=Backoff(least_s=0.01, most_s=0.1, refused_s=60.0))
        return Emitter(address, ledger=str(self.verifier), key=self.bank.key, checkpoint_file=remembers, policy=policy)

    def monitor(self, folder: Path, state: Path, max_block_age_s: float = 180.0) -> Monitor:
        """A monitor of the exported log in `folder`, as it is after a restart."""
        return monitor_of(Watched("prod", self.verifier, partial(open_folder, folder), max_block_age_s), state=state)


def emit(emitter: Emitter, count: int = 3) -> None:
    """Some predictions of the bank's model."""
    binding = emitter.bind(bytes(range(32)))
    for place in range(count):
        binding.emit(place.to_bytes(32, "big"), bytes(32))


def append(server: RunningServer, batch: bytes) -> append_pb2.Acknowledgement:
    """Append as any program may that speaks gRPC. Raises `RpcError`."""
    with Connection(Endpoint(server.address)) as connection:
        request = append_pb2.AppendBatchRequest(packed_batch=batch)
        return connection.call(methods.APPEND_BATCH, request).acknowledgement


def administer(server: RunningServer, entry: bytes) -> int:
    """Put an admin's entry on record; its index. Raises `RpcError`."""
    call, request = {
        0x52: (methods.REGISTER_PRODUCER, admin_pb2.RegisterProducerRequest),
        0x5A: (methods.RETIRE_PRODUCER, admin_pb2.RetireProducerRequest),
        0x62: (methods.COMPROMISE_PRODUCER, admin_pb2.CompromiseProducerRequest),
        0x7A: (methods.CHANGE_LEDGER_KEY, admin_pb2.ChangeLedgerKeyRequest),
    }[entry[0]]
    with Connection(Endpoint(f"unix:{server.data / 'admin.sock'}")) as admin:
        return int(admin.call(call, request(entry=entry)).index)  # type: ignore[arg-type]  # each with its own


def admin_key(data: Path) -> keys.SigningKey:
    return keys.read_signing_key(data / "keys" / "admin.key")[1]


def size_of(note: bytes) -> int:
    return Checkpoint.parse(Note.parse(note).text).size


def predictions(producer: Producer, count: int, name: str) -> bytes:
    """The producer's next batch, of predictions whose request ids are `name` and their numbers."""
    numbers = range(producer.number, producer.number + count)
    return producer.batch([a_prediction(number, request_id=f"{name}-{number}".encode()) for number in numbers])


def make_honest_ledger(folder: Path) -> HonestLedger:
    """More than a bundle of entries: 3 + 300 + 5 of the bank, 4 + 2 of the hospital."""
    with RunningServer(folder / "honest", "--origin", ORIGIN) as server:
        bank, hospital = Producer(ORIGIN), Producer(ORIGIN)
        for producer, name in ((bank, "bank"), (hospital, "hospital")):
            administer(server, registration(ORIGIN, producer.key, admin_key(server.data), name))
            append(server, producer.batch())
        append(server, predictions(bank, 3, "bank"))
        append(server, predictions(hospital, 4, "hospital"))
        verifier = Verifier.parse(server.verifier_key)
        with Client(server.address, ledger=server.verifier_key) as client:
            older = client.signed_checkpoint()[1]
            append(server, predictions(bank, 300, "bank"))
            append(server, predictions(hospital, 2, "hospital"))
            append(server, predictions(bank, 5, "bank"))
            prediction = PredictionId(bank.chain_id, 4, (4).to_bytes(4, "big"))
            receipt = client.receipt(prediction)
            kept = client.signed_checkpoint()[1]
        assert server.stop() == 0
    return HonestLedger(folder / "honest", verifier, bank, hospital, prediction, receipt, older, kept)
