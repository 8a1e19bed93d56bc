"""TraceService: what something came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lineage_ledger.formats.merkle import HASH_SIZE
from lineage_ledger.trace import Node, Target, subject_of_digest, subject_of_index, walk
from lineage_ledger.v1 import entry_pb2, trace_pb2, trace_pb2_grpc
from lineage_ledger_server.errors import NotFoundError, RefusedError
from lineage_ledger_server.index.lookup import LogStatements
from lineage_ledger_server.services.entries import INDEX_WAIT_S, parse_prediction_id
from lineage_ledger_server.services.errors import Caller, check_active
from lineage_ledger_server.services.pages import decode_token, encode_token, page_size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lineage_ledger_server.index.lookup import Lookup
    from lineage_ledger_server.reading.log_reader import LogReader

MAX_PAGE_SIZE = 1_000
MAX_PAGE_BYTES = 2 * 1024 * 1024


class TraceService(trace_pb2_grpc.TraceServiceServicer):
    """Needs the log and its indexes only, so it can run in another process than the sequencer.

    Nothing is kept between pages: a token holds the size of the log that the walk is over, and the ordinal to go on
    with, and the walk is done again.
    """

    def __init__(self, reader: LogReader, lookup: Lookup) -> None:
        self._reader = reader
        self._lookup = lookup

    def Trace(self, request: trace_pb2.TraceRequest, context: Caller) -> trace_pb2.TraceResponse:
        subject = self._subject(request)
        if request.page_token:
            first, size = decode_token(request.page_token, request, 2)
        else:
            self._lookup.wait_for(self._reader.head().size, INDEX_WAIT_S)
            first, size = 0, self._lookup.searchable_size()
        source = LogStatements(self._reader, self._lookup, size, lambda: check_active(context))
        nodes = walk(source, subject)
        if size > self._lookup.searchable_size():
            raise RefusedError("the indexes are being made again; try again when they are", reason="INDEX_BEHIND")
        if nodes[0].index is None and len(nodes) == 1:
            raise NotFoundError(f"nothing is on record about the artifact {request.artifact_digest.hex()}")
        most = page_size(request.page_size, MAX_PAGE_SIZE, MAX_PAGE_SIZE)
        page = _page(nodes[first : first + most], source)
        end = first + len(page)
        return trace_pb2.TraceResponse(
            nodes=page,
            next_page_token=encode_token(request, (end, size)) if end < len(nodes) else "",
            checkpoint=self._reader.head().note,
            indexed_size=size,
        )

    def _subject(self, request: trace_pb2.TraceRequest) -> Target:
        subject = request.WhichOneof("subject")
        if subject == "prediction_id":
            return subject_of_index(self._reader.locate(parse_prediction_id(request.prediction_id)).index)
        if subject == "index":
            return subject_of_index(request.index)
        if subject == "artifact_digest" and len(request.artifact_digest) == HASH_SIZE:
            return subject_of_digest(
                entry_pb2.Digest(algorithm=entry_pb2.DIGEST_ALGORITHM_SHA256, value=request.artifact_digest)
            )
        raise RefusedError(
            f"set one subject: prediction_id, index, or artifact_digest with {HASH_SIZE} bytes",
            reason="INVALID_ARGUMENT",
        )


def _page(nodes: Iterable[Node], source: LogStatements) -> list[trace_pb2.TraceNode]:
    """As many of the nodes as fit into a message; at least one."""
    page: list[trace_pb2.TraceNode] = []
    held_bytes = 0
    for node in nodes:
        message = _message(node, source)
        held_bytes += message.ByteSize()
        if page and held_bytes > MAX_PAGE_BYTES:
            break
        page.append(message)
    return page


def _message(node: Node, source: LogStatements) -> trace_pb2.TraceNode:
    message = trace_pb2.TraceNode(
        ordinal=node.ordinal,
        edges=[
            trace_pb2.TraceEdge(from_ordinal=edge.from_ordinal, relation=edge.relation, role=edge.role)
            for edge in node.edges
        ],
        digest=b"" if node.digest is None else node.digest.SerializeToString(),
        deployment_hash=node.deployment_hash,
    )
    if node.index is not None:
        sealed = source.sealed_entry(node.index)
        message.resolved = True
        message.index = sealed.index
        message.entry = sealed.entry
        message.public_key = sealed.seal.body.public_key
        message.producer_name = source.producer_name(sealed.seal.body.public_key)
        message.seal_index = sealed.seal_index
    return message
