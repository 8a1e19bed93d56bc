"""One witness: what is known of it, and one cosignature asked for."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import structlog

from lineage_ledger.errors import LineageError, MalformedError
from lineage_ledger.formats.note import Note, Signature
from lineage_ledger.formats.witness_policy import Witness
from lineage_ledger.formats.witness_protocol import (
    MAX_RESPONSE_BYTES,
    PATH,
    REQUEST_TYPE,
    SIZE_TYPE,
    AddCheckpoint,
    parse_size,
    read_cosignature,
)
from lineage_ledger.web import HttpClient, HttpResponse, WebError
from lineage_ledger_server.errors import ServerError
from lineage_ledger_server.head import Head
from lineage_ledger_server.reading.log_reader import LogReader

_log = structlog.get_logger(__name__)

_SHOWN: Final = 200


class WitnessRefusalError(ServerError):
    """A witness that answered, and did not cosign."""


class InconsistentError(WitnessRefusalError):
    """A witness that says it saw another history of this ledger."""


class AheadError(WitnessRefusalError):
    """A witness that cosigned a larger tree, of `size`, than it is asked to."""

    def __init__(self, message: str, *, size: int) -> None:
        super().__init__(message)
        self.size = size


class WitnessLink:
    """For one thread at a time."""

    def __init__(self, witness: Witness, client: HttpClient, reader: LogReader, known_size: int) -> None:
        self.witness = witness
        self._client = client
        self._reader = reader
        self._known_size = known_size

    def cosign(self, head: Head) -> Signature:
        """The witness' verified cosignature of a head under which `reader` can prove.

        Raises `WitnessRefusalError`, `WebError`, and `MalformedError` or `SignatureError` for what the witness sent.
        """
        answer = self._ask(head)
        if answer.status == HTTPStatus.CONFLICT:
            self._learn_size(answer, head)
            answer = self._ask(head)
            if answer.status == HTTPStatus.CONFLICT and self._known_size == head.size:
                # Not the size, then: version 1.0.0 has 409 for another root of the same size, later texts have 422.
                raise InconsistentError(f"says that it cosigned another tree of size {head.size}")
        if answer.status == HTTPStatus.UNPROCESSABLE_ENTITY:
            raise InconsistentError(
                f"says that the tree of size {head.size} is not of the history it knows: {_text(answer)}"
            )
        if answer.status != HTTPStatus.OK:
            raise WitnessRefusalError(f"answered {answer.status}: {_text(answer)}")
        cosignature = read_cosignature(answer.body, Note.parse(head.note).text, self.witness.verifier)
        self._known_size = head.size
        return cosignature

    def _ask(self, head: Head) -> HttpResponse:
        old_size = min(self._known_size, head.size)
        proof = self._reader.consistency_proof(old_size, head.size) if 0 < old_size < head.size else []
        request = AddCheckpoint(old_size, tuple(proof), head.note)
        url = self.witness.url.rstrip("/") + PATH
        return self._client.post(url, request.encode(), REQUEST_TYPE, MAX_RESPONSE_BYTES)

    def _learn_size(self, answer: HttpResponse, head: Head) -> None:
        """Where a witness stands that we thought elsewhere."""
        if answer.headers.get("content-type", "").partition(";")[0] != SIZE_TYPE:
            raise WitnessRefusalError(f"answered 409 and not where it stands: {_text(answer)}")
        try:
            size = parse_size(answer.body)
        except MalformedError as error:
            raise WitnessRefusalError(f"answered 409 and not where it stands: {error}") from error
        if size < self._known_size:
            _log.error(
                "a witness forgot what it had cosigned; its cosignatures are worth nothing until it is known why",
                witness=self.witness.verifier.name,
                cosigned_size=self._known_size,
                says_size=size,
            )
        self._known_size = size
        if size > head.size:
            raise AheadError(f"cosigned a tree of size {size} before, larger than {head.size}", size=size)


def _text(answer: HttpResponse) -> str:
    return ascii(answer.body[:_SHOWN].decode("utf-8", "replace").strip())


def is_alarming(error: LineageError) -> bool:
    """Whether it speaks against the ledger or the witness, and not of a network or of what was set up."""
    return isinstance(error, InconsistentError) or not isinstance(error, WebError | WitnessRefusalError)
