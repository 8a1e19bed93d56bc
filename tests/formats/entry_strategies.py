"""Random valid entries of every kind, for the tests of formats."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from hypothesis import strategies as st

from lineage_ledger.v1 import entry_pb2 as pb
from tests.formats import entry_examples as examples

if TYPE_CHECKING:
    from collections.abc import Callable

_Range = TypeVar("_Range", pb.NumberRange, pb.IndexRange)

_u64 = st.integers(0, 2**64 - 1)
_time = st.integers(1, 2**64 - 1)
_key = st.binary(min_size=32, max_size=32)
_signature = st.binary(min_size=64, max_size=64)
_printable = st.characters(blacklist_categories=["Cs"], blacklist_characters="\0")


def _text(least: int, most: int) -> st.SearchStrategy[str]:
    return st.text(_printable, min_size=least, max_size=20).filter(lambda text: len(text.encode()) <= most)


def _maybe(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.none() | strategy


_LENGTHS = {1: 32, 2: 64, 3: 20, 4: 16, 5: 4}
_digest = st.sampled_from(sorted(_LENGTHS)).flatmap(
    lambda algorithm: st.builds(
        pb.Digest,
        algorithm=st.just(algorithm),
        value=st.binary(min_size=_LENGTHS[algorithm], max_size=_LENGTHS[algorithm]),
        sampled=st.booleans(),
    )
)
_commit = _digest.filter(lambda digest: digest.algorithm in (1, 3))
_name, _label = _text(1, 255), _text(0, 255)
_part = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0/\r\n\\"), min_size=1, max_size=5)
_path = st.lists(_part.filter(lambda part: part not in (".", "..")), min_size=1, max_size=3).map("/".join)
_attributes = st.dictionaries(_name, _label, max_size=3).map(
    lambda named: [pb.Attribute(name=name, value=named[name]) for name in sorted(named, key=str.encode)]
)
_files = st.dictionaries(_path, st.tuples(_u64, _digest), max_size=3).map(
    lambda files: [
        pb.File(path=path, size_bytes=files[path][0], digest=files[path][1]) for path in sorted(files, key=str.encode)
    ]
)
_references = st.lists(st.builds(pb.ArtifactReference, digest=_digest, role=_label), max_size=3)
_clean_code = st.builds(pb.Code, repository=_label, commit=_commit, branch=_label)
_dirty_code = st.builds(pb.Code, repository=_label, commit=_commit, branch=_label, dirty=st.just(True), diff=_digest)


def _ranges(make: Callable[..., _Range], least: int) -> st.SearchStrategy[list[_Range]]:
    """Ranges that ascend and do not touch, for `NumberRange` and `IndexRange`."""

    def place(pairs: list[tuple[int, int]]) -> list[_Range]:
        ranges, end = [], -1
        for gap, count in pairs:
            ranges.append(make(first=end + gap, count=count))
            end += gap + count
        return ranges

    gaps_and_counts = st.tuples(st.integers(1, 2**40), st.integers(1, 2**40))
    return st.lists(gaps_and_counts, min_size=least, max_size=4).map(place)


_prediction = st.builds(
    pb.Prediction,
    binding_row=st.integers(1, 255),
    request_id=st.binary(max_size=64),
    input_commitment=_key,
    output_commitment=_key,
    start_time_unix_ns=_time,
    duration_us=st.integers(0, 2**32 - 1),
    status_code=st.integers(0, 16),
)
_bindings = st.lists(st.builds(pb.Binding, deployment_hash=_key, count=st.integers(0, 2**32 - 1)), max_size=3)
_span = st.none() | st.tuples(_time, _time)


@st.composite
def _seal_bodies(draw: st.DrawFn) -> pb.SealBody:
    sequence, span = draw(st.just(0) | _u64), draw(_span)
    first = sequence == 0
    return pb.SealBody(
        public_key=draw(_key),
        chain_id=draw(st.binary(min_size=16, max_size=16)),
        batch_sequence=sequence,
        first_number=draw(_u64),
        count=draw(st.integers(0, 16_384)),
        root=draw(_key),
        previous_seal_hash=None if first else draw(_key),
        earliest_start_time_unix_ns=span and span[0],
        latest_start_time_unix_ns=span and span[1],
        sealed_time_unix_ns=draw(_time),
        lost=draw(_ranges(pb.NumberRange, 0)),
        bindings=draw(_bindings),
        chain_nonce=draw(_key) if first else None,
        predecessor=pb.Predecessor(chain_id=bytes(16), next_number=draw(_u64))
        if first and draw(st.booleans())
        else None,
        closing=draw(st.booleans()),
    )


_seal = st.builds(
    lambda body, signature: pb.Seal(body=body.SerializeToString(), signature=signature), _seal_bodies(), _signature
)


@st.composite
def _attestations(draw: st.DrawFn) -> pb.Attestation:
    keyed = draw(st.booleans())
    body = pb.AttestationBody(
        subject=draw(_digest),
        predicate_type=draw(_name),
        predicate=draw(st.binary(max_size=50)),
        attester=draw(_label),
        public_key=draw(_key) if keyed else None,
        time_unix_ns=draw(_time),
    )
    return pb.Attestation(body=body.SerializeToString(), signature=draw(_signature) if keyed else None)


@st.composite
def _artifacts(draw: st.DrawFn) -> pb.Artifact:
    kind = draw(st.sampled_from(examples.ARTIFACT_KINDS))
    return pb.Artifact(
        kind=kind,
        digest=draw(_digest),
        name=draw(_name),
        version=draw(_label),
        uri=draw(_label),
        size_bytes=draw(_u64),
        media_type=draw(_label),
        files=draw(_files),
        code=draw(st.none() | _clean_code | _dirty_code) if kind == pb.ARTIFACT_KIND_CODE else None,
        attributes=draw(_attributes),
        created_time_unix_ns=draw(_u64),
    )


_runs = st.builds(
    pb.Run,
    kind=st.integers(1, 5),
    run_id=_label,
    name=_name,
    inputs=_references,
    outputs=_references,
    parameters=_attributes,
    code=_maybe(_digest),
    environment=_maybe(_digest),
    start_time_unix_ns=_u64,
    end_time_unix_ns=_u64,
    metrics=_attributes,
    command=_label,
)
_deployments = st.builds(
    pb.Deployment,
    name=_name,
    model=_digest,
    configuration=_maybe(_digest),
    image=_maybe(_digest),
    server=_label,
    endpoint=_label,
    valid_from_unix_ns=_u64,
    valid_until_unix_ns=_u64,
    code=_maybe(_digest),
    environment=_maybe(_digest),
    attributes=_attributes,
)
_genesis = st.builds(
    pb.Genesis,
    format_version=st.just(1),
    origin=_name,
    ledger_public_key=_key,
    admin_public_keys=st.sets(_key, min_size=1, max_size=16).map(sorted),
    time_unix_ns=_time,
)
_blocks = st.builds(pb.Block, number=_time, time_unix_ns=_time, previous_block_hash=_key)
_removals = st.builds(
    lambda policy, ranges, time, key, signature: pb.Removal(
        body=pb.RemovalBody(policy=policy, ranges=ranges, time_unix_ns=time).SerializeToString(),
        admin_public_key=key,
        admin_signature=signature,
    ),
    _name,
    _ranges(pb.IndexRange, 1),
    _time,
    _key,
    _signature,
)
_conflicts = (
    st.tuples(_seal, _seal)
    .filter(lambda seals: seals[0].body != seals[1].body)
    .map(
        lambda seals: pb.Conflict(
            first_seal=pb.Entry(seal=seals[0]).SerializeToString(),
            second_seal=pb.Entry(seal=seals[1]).SerializeToString(),
        )
    )
)

entries: st.SearchStrategy[bytes] = st.one_of(
    st.builds(pb.Entry, prediction=_prediction),
    st.builds(pb.Entry, seal=_seal),
    st.builds(pb.Entry, artifact=_artifacts()),
    st.builds(pb.Entry, run=_runs),
    st.builds(pb.Entry, deployment=_deployments),
    st.builds(pb.Entry, attestation=_attestations()),
    st.builds(pb.Entry, genesis=_genesis),
    st.builds(pb.Entry, block=_blocks),
    st.builds(pb.Entry, removal=_removals),
    st.builds(pb.Entry, conflict=_conflicts),
    st.sampled_from(
        [
            examples.FULL[kind]
            for kind in ("producer_registered", "producer_retired", "producer_compromised", "ledger_key")
        ]
    ),
).map(lambda entry: entry.SerializeToString())
"""Strictly encoded entries of every kind."""
