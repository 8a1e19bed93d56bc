"""All witnesses of the policy: one head after the other is put to them, until a quorum has cosigned it.

The witnesses are asked about one and the same head, else each could cosign another one and none would ever have a
quorum. As soon as it has, its checkpoint is put on record and the newest head is next. One thread decides; it hears of
new heads and of answers through a queue, so that neither the sequencer nor a witness ever waits for it.
"""

from __future__ import annotations

import queue
import threading

import structlog

from lineage_ledger.errors import VerificationError
from lineage_ledger.formats.note import Note, Signature
from lineage_ledger.web import HttpClient
from lineage_ledger_server.errors import HeadMismatchError
from lineage_ledger_server.head import Head, HeadRecord
from lineage_ledger_server.reading.log_reader import LogReader
from lineage_ledger_server.witnessing.asker import Ahead, Asker, Cosigned, WitnessStatus
from lineage_ledger_server.witnessing.link import WitnessLink
from lineage_ledger_server.witnessing.settings import WitnessSettings

_log = structlog.get_logger(__name__)

_RETRY_S = 1.0


class Witnesses:
    """Owns writing to `record`. `reader` proves up to the newest signed head, whether it is published or not.

    `recorded` is the head on record; one that does not satisfy this policy counts for nobody who waits.
    """

    def __init__(self, settings: WitnessSettings, record: HeadRecord, reader: LogReader, recorded: Head | None) -> None:
        self.required = settings.required
        self.timeout_s = settings.timeout_s
        self._policy = settings.policy
        self._record = record
        self._witnessed = self._counted(recorded)  # guarded by _advanced, as is the next
        self._stopped = False
        self._advanced = threading.Condition()
        self._events: queue.SimpleQueue[Head | Cosigned | Ahead | None] = queue.SimpleQueue()
        self._client = HttpClient(settings.timeout_s, retries=0)
        known_size = 0 if recorded is None else recorded.size
        self._askers = [
            Asker(WitnessLink(witness, self._client, reader, known_size), self._events.put)
            for witness in settings.witnesses
        ]
        # The round, of this thread alone.
        self._newest: Head | None = None
        self._asked: Head | None = None
        self._cosignatures: dict[str, Signature] = {}
        self._signatures_recorded = 0
        self._alarmed: dict[str, int] = {}
        self._thread = threading.Thread(target=self._run, name="witnesses", daemon=True)

    @property
    def witnessed(self) -> Head | None:
        """The newest head that has a quorum."""
        return self._witnessed

    @property
    def statuses(self) -> list[WitnessStatus]:
        """A witness each."""
        return [asker.status for asker in self._askers]

    def start(self) -> None:
        self._thread.start()
        for asker in self._askers:
            asker.start()

    def offer(self, head: Head) -> None:
        """A newer head was signed. Any thread may call it; it does not block."""
        self._events.put(head)

    def wait(self, size: int, timeout_s: float | None = None) -> Head | None:
        """The newest head with a quorum, as soon as it has `size` entries; None if it does not within the time.

        That time is the setting's, if it is not given.
        """
        with self._advanced:
            self._advanced.wait_for(
                lambda: self._stopped or (self._witnessed is not None and self._witnessed.size >= size),
                self.timeout_s if timeout_s is None else timeout_s,
            )
            head = self._witnessed
        return head if head is not None and head.size >= size else None

    def stop(self) -> None:
        """Ask and wait no more; whoever waits is told so."""
        for asker in self._askers:
            asker.stop()
        self._events.put(None)
        if self._thread.is_alive():
            self._thread.join()
        self._client.close()
        self._record.close()

    def _run(self) -> None:
        wait_s: float | None = None
        while True:
            try:
                event = self._events.get(timeout=wait_s)
                if event is None:
                    break
                self._take(event)
            except queue.Empty:
                pass
            wait_s = None
            try:
                self._advance()
            except Exception as error:  # noqa: BLE001  # a full disk, say; the cosignatures are still there
                _log.error("a witnessed checkpoint cannot be put on record", cause=str(error))
                wait_s = _RETRY_S
        with self._advanced:
            self._stopped = True
            self._advanced.notify_all()

    def _take(self, event: Head | Cosigned | Ahead) -> None:
        if isinstance(event, Head):
            self._newest = event
        elif isinstance(event, Cosigned):
            if event.head is self._asked:
                self._cosignatures[event.name] = event.signature
        elif self._newest is not None and self._asked is not None and self._asked.size < event.size:
            if event.size <= self._newest.size:
                self._asked = None  # somebody else put a newer head to the witness: on to that
            elif self._alarmed.get(event.name) != event.size:
                self._alarmed[event.name] = event.size
                _log.error(
                    "a witness cosigned a larger tree than this ledger has: the ledger was restored from a copy, or "
                    "somebody else signs with its key",
                    witness=event.name,
                    witness_size=event.size,
                    signed_size=self._newest.size,
                )

    def _advance(self) -> None:
        """Put on record what has a quorum now, and go on to the newest head if there is nothing to wait for."""
        is_settled = self._asked is None
        if self._asked is not None and self._policy.is_satisfied_by(self._cosignatures):
            if (
                len(self._cosignatures) > self._signatures_recorded
            ):  # later ones are added for as long as the head is the newest
                self._publish(self._asked)
                self._signatures_recorded = len(self._cosignatures)
            is_settled = True
        if is_settled and self._newest is not None and self._newest is not self._asked:
            self._asked, self._cosignatures, self._signatures_recorded = self._newest, {}, 0
            for asker in self._askers:
                asker.ask(self._asked)
            if self._policy.is_satisfied_by(()):  # 'quorum none': nobody is waited for
                self._publish(self._asked)

    def _counted(self, recorded: Head | None) -> Head | None:
        if recorded is None:
            return None
        try:
            self._policy.check(recorded.note)
        except VerificationError as error:
            _log.warning("the newest witnessed checkpoint is none by this policy", size=recorded.size, cause=str(error))
            return None
        return recorded

    def _publish(self, head: Head) -> None:
        text, signatures = Note.parse(head.note)
        found = self._cosignatures
        ordered = [found[witness.name] for witness in self._policy.witnesses if witness.name in found]
        # The log's own signature stands first.
        witnessed = head._replace(note=Note(text, (*signatures, *ordered)).encode())
        self._record.write(witnessed)
        with self._advanced:
            self._witnessed = witnessed
            self._advanced.notify_all()


def check_record(record: HeadRecord, reader: LogReader, signed: Head) -> Head | None:
    """What is on record, held against the log. It may be behind what was signed, never ahead of it or different.

    Raises `HeadMismatchError`: then the log is an old copy or another one.
    """
    head = record.read()
    if head is None:
        return None
    if head.size > signed.size or reader.root(head.size) != head.root:
        raise HeadMismatchError(
            f"witnesses cosigned a tree of size {head.size} with the root {head.root.hex()} ({record.path}), and the "
            f"log, of size {signed.size}, does not go on from that: it is an old copy, or was changed. Nothing will be "
            "signed over it. Put back the newest copy of the log"
        )
    return head
