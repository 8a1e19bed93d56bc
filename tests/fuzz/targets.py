"""Every parser of bytes that others wrote, and what must hold for whatever it is given.

A target takes any bytes. It returns True if they were accepted and False if they were refused as they should be; what
else happens is a crash: an exception of another class than the parser promises, a value whose encoding is not the bytes
that it was read from, two implementations that disagree, a proof of something that nobody signed.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from google.protobuf.message import Message

from lineage_ledger.audit.state import AuditState
from lineage_ledger.chain_receipts import verify_chain_receipt
from lineage_ledger.checkpoint_file import CheckpointFile
from lineage_ledger.cli.keygen import RegistrationRequest
from lineage_ledger.emitter.sealer import restore
from lineage_ledger.emitter.settings import EmitterSettings
from lineage_ledger.errors import (
    CheckpointFileError,
    ForkError,
    InvalidKeyError,
    LineageError,
    MalformedError,
    OtherKeyError,
    SealError,
    SettingsError,
    SignatureError,
    VerificationError,
)
from lineage_ledger.formats import digest, keys, packed, prediction, seal, strict, tiles
from lineage_ledger.formats.chain_receipt import ChainReceipt
from lineage_ledger.formats.checkpoint import Checkpoint
from lineage_ledger.formats.describe import describe
from lineage_ledger.formats.note import Note, SignatureType, Verifier
from lineage_ledger.formats.receipt import Receipt
from lineage_ledger.formats.strict_rules import RULES
from lineage_ledger.formats.strict_tables import PLACES
from lineage_ledger.formats.tlog_proof import TlogProof
from lineage_ledger.formats.witness_policy import WitnessPolicy
from lineage_ledger.formats.witness_protocol import AddCheckpoint, encode_size, parse_size, read_cosignature
from lineage_ledger.history import History
from lineage_ledger.receipts import verify_receipt
from lineage_ledger.v1 import entries_pb2, entry_pb2
from lineage_ledger_server.errors import RefusedError
from lineage_ledger_server.services import pages
from tests.fuzz import examples
from tests.kernel.kernel_examples import KERNELS, outcome

CORPUS: Final = Path(__file__).parent / "corpus"
MESSAGES: Final = tuple(sorted(RULES))

_Value = TypeVar("_Value")
_Refusal: TypeAlias = type[LineageError] | tuple[type[LineageError], ...]


class Target(NamedTuple):
    """One parser under test."""

    run: Callable[[bytes], bool]
    max_bytes: int = 4_096
    """Longest input that a fuzzer makes; what the parser takes may be more."""


def entry(data: bytes) -> bool:
    """Accepted by the strict scanner: protobuf writes the same bytes, and so do the kernels' scans agree."""
    if 0 < len(data) <= 0xFFFF:
        _kernels_agree("scan", packed.frame(data))
    try:
        message = strict.parse_entry(data)
    except MalformedError:
        return False
    _one_encoding(data, _written(message))
    statement = getattr(message, message.WhichOneof("kind") or "")
    rule = RULES[statement.DESCRIPTOR.name].fields.get("body")
    if rule is not None and rule.carries is not None:
        _one_encoding(statement.body, _written(getattr(entry_pb2, rule.carries).FromString(statement.body)))
    assert json.dumps(describe(data)), "an entry that cannot be shown"
    return True


def message(data: bytes) -> bool:
    """A message of the strict encoding, the first byte says which: both kernels say the same."""
    name = MESSAGES[data[0] % len(MESSAGES)] if data else "Entry"
    _kernels_agree("check_strict", PLACES[name], data[1:])
    return outcome(KERNELS["python"].check_strict, PLACES[name], data[1:]) is None


def packed_entries(data: bytes) -> bool:
    """The framing in Python and both kernels: they accept the same, and find the same in it."""
    for function, arguments in (
        ("scan", ()),
        ("leaf_hashes", ()),
        ("entry_offsets", (1, 2)),
    ):
        _kernels_agree(function, data, *arguments)
    _kernels_agree("request_id_rows", [data, data], 7)
    hashed = outcome(KERNELS["python"].leaf_hashes, data)
    try:
        entries = packed.split(data)
    except MalformedError:
        assert not isinstance(hashed, bytes), "the kernel takes what `packed` refuses"
        return False
    _one_encoding(data, packed.pack(entries))
    assert hashed == b"".join(hashlib.sha256(b"\0" + entry).digest() for entry in entries)
    assert all(packed.entry_at(data, place) == entry for place, entry in enumerate(entries[:3]))
    return True


def seal_entry(data: bytes) -> bool:
    """A seal, and what it says by itself; nobody but the key's owner makes one that checks."""
    parsed = _accepted(seal.parse_seal, data, LineageError)
    if parsed is None:
        return False
    _one_encoding(data, _written(strict.parse_entry(data)))
    try:
        seal.check_seal(parsed, examples.ORIGIN)
    except LineageError:
        return True
    assert parsed.body_bytes in examples.SEALED_BODIES, "a seal checks that was never signed"
    return True


def note(data: bytes) -> bool:
    """A signed note; nothing but what was signed opens as a checkpoint."""
    parsed = _accepted(Note.parse, data, MalformedError)
    if parsed is None:
        return False
    _one_encoding(data, parsed.encode())
    checkpoint = _accepted(lambda signed: Checkpoint.open(signed, examples.VERIFIER), data, LineageError)
    assert checkpoint in (None, examples.CHECKPOINT), "a checkpoint opens that was never signed"
    return True


def tlog_proof(data: bytes) -> bool:
    """A tlog-proof, which proves the one entry or nothing."""
    proof = _accepted(TlogProof.parse, data, MalformedError)
    if proof is None:
        return False
    _one_encoding(data, proof.encode())
    if _accepted(lambda _: proof.verify(examples.PROVEN_ENTRY, examples.PROOF_VERIFIER), data, LineageError):
        assert proof.index == examples.PROVEN_INDEX, "an entry is proven at an index where it is not"
    return True


def tile_path(data: bytes) -> bool:
    """A path is of a tile, of a bundle, or of neither."""
    path = _text(data)
    tile = _accepted(tiles.parse_tile_path, path, MalformedError)
    bundle = _accepted(tiles.parse_bundle_path, path, MalformedError)
    assert tile is None or bundle is None, "one path is of two resources"
    if tile is not None:
        _one_encoding(path, tiles.tile_path(*tile))
    if bundle is not None:
        _one_encoding(path, tiles.bundle_path(*bundle))
    return tile is not None or bundle is not None


def receipt(data: bytes) -> bool:
    """A lineage receipt, which proves the one prediction or nothing."""
    parsed = _accepted(Receipt.parse, data, MalformedError)
    if parsed is None:
        return False
    _one_encoding(data, parsed.encode())
    verified = _accepted(lambda file: verify_receipt(file, examples.RECEIPT_VERIFIER), data, LineageError)
    if verified is not None:
        assert str(verified.prediction_id) == examples.RECEIPT_PREDICTION, "a prediction is proven that is not there"
    return True


def chain_receipt(data: bytes) -> bool:
    """A chain receipt, which proves the one chain or nothing."""
    parsed = _accepted(ChainReceipt.parse, data, MalformedError)
    if parsed is None:
        return False
    _one_encoding(data, parsed.encode())
    verified = _accepted(lambda file: verify_chain_receipt(file, examples.RECEIPT_VERIFIER), data, LineageError)
    if verified is not None:
        assert verified.chain_id == examples.CHAIN_ID, "a chain is proven that is not there"
    return True


def witness_request(data: bytes) -> bool:
    """What a log asks a witness."""
    return _round_trip(AddCheckpoint.parse, AddCheckpoint.encode, data)


def witness_answer(data: bytes) -> bool:
    """What a witness answers: its size, or a cosignature over what it was asked about."""
    size = _accepted(parse_size, data, MalformedError)
    if size is not None:
        _one_encoding(data, encode_size(size))
    text = examples.CHECKPOINT.encode()
    line = _accepted(lambda body: read_cosignature(body, text, examples.WITNESS), data, LineageError)
    assert line in (None, examples.COSIGNATURE), "a cosignature is taken that the witness did not make"
    return size is not None or line is not None


def witness_policy(data: bytes) -> bool:
    """A policy, which people write: it may be laid out in many ways, and says one thing."""
    policy = _accepted(WitnessPolicy.parse, data, MalformedError)
    if policy is None:
        return False
    assert policy.is_satisfied_by({witness.name for witness in policy.witnesses}), "no quorum can be reached"
    assert policy.is_satisfied_by(policy.names), "the witnesses of the quorum are none"
    return True


def audit_state(data: bytes) -> bool:
    """Where an audit ended; what is mutated gets the right digest too, or nothing behind that would be reached."""
    header, _, rest = data.partition(b"\n")
    body = rest.partition(b"\n")[2]
    digested = b"%s\nsha256 %s\n%s" % (header, hashlib.sha256(body).hexdigest().encode(), body)
    refusals = (MalformedError, VerificationError)
    return any(
        _round_trip(lambda file: AuditState.parse(file, examples.VERIFIER), AuditState.encode, file, refusals)
        for file in (data, digested)
    )


def page_token(data: bytes) -> bool:
    """What a caller gives back to be told the next page."""
    request, token = entries_pb2.FindPredictionsRequest(), _text(data)
    numbers = _accepted(lambda given: pages.decode_token(given, request, 2), token, RefusedError)
    if numbers is not None:
        _one_encoding(token, pages.encode_token(request, numbers))
    return numbers is not None


def settings(data: bytes) -> bool:
    """lineage.toml; a settings file is written by people, and refused with what is wrong in it."""
    _SETTINGS_FILE.write_bytes(data)
    return (
        _accepted(lambda path: EmitterSettings.read(path, {}), _SETTINGS_FILE, (SettingsError, InvalidKeyError))
        is not None
    )


def spooled_batch(data: bytes) -> bool:
    """A batch that an emitter left behind on its disk."""
    if not data:
        return False
    batch = _accepted(restore, data, (MalformedError, SealError))
    assert batch is None or (batch.packed, batch.size) == (data, len(data))
    return batch is not None


def checkpoint_file(data: bytes) -> bool:
    """What a client remembers: nothing but what the ledger signed is taken from it."""
    _CHECKPOINT_FILE.write_bytes(data)
    refusals = (CheckpointFileError, ForkError, OtherKeyError)
    newest = _accepted(lambda path: History(examples.VERIFIER, CheckpointFile(path)).newest, _CHECKPOINT_FILE, refusals)
    assert newest is None or newest.checkpoint == examples.CHECKPOINT, "what is remembered was never signed"
    return newest is not None


def registration_request(data: bytes) -> bool:
    """What a producer hands to an admin; there may be space around it."""
    text = _text(data)
    refusals = (MalformedError, InvalidKeyError, SignatureError)
    request = _accepted(lambda given: RegistrationRequest.parse(given, examples.ORIGIN), text, refusals)
    if request is not None:
        _one_encoding(text.strip(), str(request))
        assert request.public_key == examples.PRODUCER.public_key, "a registration is asked for without the key"
    return request is not None


def _verifier_key(text: str) -> bool:
    verifier = _accepted(Verifier.parse, text, InvalidKeyError)
    if verifier is not None:
        _one_encoding(text, str(verifier))
        assert verifier.type in tuple(SignatureType)
    return verifier is not None


def _round_trip(
    parse: Callable[[bytes], _Value],
    encode: Callable[[_Value], bytes],
    data: bytes,
    refusal: _Refusal = MalformedError,
) -> bool:
    value = _accepted(parse, data, refusal)
    if value is not None:
        _one_encoding(data, encode(value))
    return value is not None


def _text_round_trip(
    parse: Callable[[str], _Value], encode: Callable[[_Value], str], refusal: _Refusal = MalformedError
) -> Callable[[bytes], bool]:
    def run(data: bytes) -> bool:
        return _round_trip(lambda raw: parse(_text(raw)), lambda value: _raw(encode(value)), data, refusal)

    return run


def _accepted(parse: Callable[[Any], _Value], data: object, refusal: _Refusal) -> _Value | None:
    """What `parse` makes of it; None if it is refused, with the class of error that it promises and a text."""
    try:
        return parse(data)
    except refusal as error:
        assert str(error), "a refusal that does not say what is wrong"
        return None


def _one_encoding(data: bytes | str, encoded: bytes | str) -> None:
    assert encoded == data, f"accepted in another encoding than {encoded!r}"


def _kernels_agree(function: str, *arguments: object) -> None:
    results = {name: outcome(getattr(kernel, function), *arguments) for name, kernel in KERNELS.items()}
    assert len({repr(result) for result in results.values()}) == 1, f"{function}: the kernels disagree: {results}"
    result = results["python"]
    if isinstance(result, tuple) and isinstance(result[0], type):
        assert issubclass(result[0], MalformedError), f"{function}: {result}"


def _written(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


def _text(data: bytes) -> str:
    """Any text that there is, lone surrogates too: each for its bytes."""
    return data.decode("utf-8", "surrogateescape")


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


_FOLDER: Final = tempfile.TemporaryDirectory(prefix="lineage-fuzz-")
_SETTINGS_FILE: Final = Path(_FOLDER.name) / "lineage.toml"
_CHECKPOINT_FILE: Final = Path(_FOLDER.name) / "checkpoint"

TARGETS: Final[dict[str, Target]] = {
    "audit_state": Target(audit_state),
    "chain_receipt": Target(chain_receipt, 16_384),
    "checkpoint": Target(_text_round_trip(Checkpoint.parse, Checkpoint.encode), 512),
    "checkpoint_file": Target(checkpoint_file),
    "digest": Target(_text_round_trip(digest.parse_digest, digest.format_digest), 256),
    "entry": Target(entry),
    "message": Target(message),
    "note": Target(note),
    "packed": Target(packed_entries),
    "page_token": Target(page_token, 128),
    "prediction_id": Target(_text_round_trip(prediction.PredictionId.parse, str), 128),
    "receipt": Target(receipt, 16_384),
    "registration_request": Target(registration_request, 512),
    "seal": Target(seal_entry, 2_048),
    "settings": Target(settings, 8_192),
    "signing_key": Target(
        _text_round_trip(keys.parse_signing_key, lambda named: keys.encode_signing_key(*named), InvalidKeyError), 512
    ),
    "spooled_batch": Target(spooled_batch),
    "tile_path": Target(tile_path, 128),
    "tlog_proof": Target(tlog_proof),
    "verifier_key": Target(lambda data: _verifier_key(_text(data)), 512),
    "witness_answer": Target(witness_answer),
    "witness_policy": Target(witness_policy),
    "witness_request": Target(witness_request),
}


def seeds(name: str) -> dict[str, bytes]:
    """The corpus of a target, by the names of its files."""
    return {path.name: path.read_bytes() for path in sorted((CORPUS / name).iterdir())}
