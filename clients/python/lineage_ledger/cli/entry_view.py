"""What an entry says, in lines for people. Takes entries as `formats.describe` gives them; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from lineage_ledger.cli.output import Line
from lineage_ledger.cli.text import byte_size, bytes_as_text, duration, json_as_text, plural, short_digest

MAX_ELEMENTS: Final = 12
"""Files, parameters and so on that a tree shows of one entry; the rest is counted."""
_MAX_TEXT: Final = 120
_MAX_PREDICATE: Final = 400

STATUS_NAMES: Final = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
"""Names of google.rpc.Code, by number."""


def title(described: Mapping[str, Any]) -> str:
    """An entry in a few words, such as "training run fit" or "dataset iris 1.0"."""
    kind = described["kind"]
    content = described[kind]
    if kind == "artifact":
        return _join(
            content["kind"] if content["kind"] != "other" else "artifact", content["name"], content.get("version")
        )
    if kind == "run":
        return _join(content["kind"].replace("_", " ") if content["kind"] != "other" else "", "run", content["name"])
    if kind == "deployment":
        return f"deployment {content['name']}"
    if kind == "attestation":
        return f"attestation {content['body']['predicate_type']}"
    return str(kind).replace("_", " ")


def lines(described: Mapping[str, Any]) -> list[Line]:
    """What is worth knowing of an entry in a lineage, a line each."""
    kind = described["kind"]
    make: Callable[[Mapping[str, Any]], Iterator[Line]] | None = {
        "prediction": _prediction,
        "artifact": _artifact,
        "run": _run,
        "deployment": _deployment,
        "attestation": _attestation,
    }.get(kind)
    return [] if make is None else list(make(described[kind]))


def flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Nested data as dotted names with values: all of it, in order."""
    if isinstance(value, Mapping):
        for key, element in value.items():
            yield from flat(element, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for place, element in enumerate(value):
            yield from flat(element, f"{name}[{place}]")
    else:
        yield name, str(value).lower() if isinstance(value, bool) else str(value)


def _prediction(content: Mapping[str, Any]) -> Iterator[Line]:
    status = content["status_code"]
    parts = [f"started {_time(content['start_time_unix_ns'])}"]
    if content.get("duration_us"):
        parts.append(f"took {duration(content['duration_us'])}")
    parts.append(STATUS_NAMES[status] if status < len(STATUS_NAMES) else f"status {status}")
    yield _plain(", ".join(parts))
    if "request_id" in content:
        yield _named("request id", bytes_as_text(content["request_id"]))
    for name in ("input_commitment", "output_commitment"):
        if name in content:
            yield _named(name.replace("_", " "), short_digest(content[name]))


def _artifact(content: Mapping[str, Any]) -> Iterator[Line]:
    yield _named("digest", ", ".join(filter(None, (short_digest(content["digest"]), _size(content)))))
    code = content.get("code")
    if code is not None:
        state = f"dirty, diff {short_digest(code['diff'])}" if code["dirty"] else "clean"
        yield _named("commit", f"{code['commit'].partition(':')[2]} ({state})")
        yield from _texts(code, "repository", "branch")
    yield from _texts(content, "uri", "media_type")
    if "created_time_unix_ns" in content:
        yield _named("created", _time(content["created_time_unix_ns"]))
    yield from _elements(
        "file", [f"{f['path']}  {byte_size(f['size_bytes'])}  {short_digest(f['digest'])}" for f in content["files"]]
    )
    yield from _pairs("attribute", content["attributes"])


def _run(content: Mapping[str, Any]) -> Iterator[Line]:
    times = [_time(content[name]) for name in ("start_time_unix_ns", "end_time_unix_ns") if name in content]
    if times:
        yield _named("time", " to ".join(times))
    yield from _texts(content, "run_id", "command")
    yield from _pairs("parameter", content["parameters"])
    yield from _pairs("metric", content["metrics"])
    yield from _elements("output", [_join(short_digest(o["digest"]), o.get("role")) for o in content["outputs"]])


def _deployment(content: Mapping[str, Any]) -> Iterator[Line]:
    yield from _texts(content, "server", "endpoint")
    valid = [
        f"{word} {_time(content[name])}"
        for word, name in (("from", "valid_from_unix_ns"), ("until", "valid_until_unix_ns"))
        if name in content
    ]
    if valid:
        yield _named("valid", " ".join(valid))
    yield from _pairs("attribute", content["attributes"])


def _attestation(content: Mapping[str, Any]) -> Iterator[Line]:
    body = content["body"]
    signed = (
        f"signed by key {short_digest(body['public_key'])}" if "public_key" in body else "not signed by its attester"
    )
    yield _plain(f"by {body.get('attester') or 'nobody named'}, {_time(body['time_unix_ns'])}, {signed}")
    if "predicate" in body:
        yield _named("says", _clip(json_as_text(body["predicate"]), _MAX_PREDICATE))


def _texts(content: Mapping[str, Any], *names: str) -> Iterator[Line]:
    for name in names:
        if content.get(name):
            yield _named(name.replace("_", " "), _clip(content[name]))


def _pairs(word: str, attributes: Sequence[Mapping[str, str]]) -> Iterator[Line]:
    yield from _elements(word, [f"{_clip(pair['name'])} = {_clip(pair.get('value', ''))}" for pair in attributes])


def _elements(word: str, texts: Sequence[str]) -> Iterator[Line]:
    for text in texts[:MAX_ELEMENTS]:
        yield _named(word, text)
    if len(texts) > MAX_ELEMENTS:
        yield _plain(f"… and {plural(len(texts) - MAX_ELEMENTS, f'more {word}')}")


def _size(content: Mapping[str, Any]) -> str:
    files = f" in {plural(len(content['files']), 'file')}" if content["files"] else ""
    return byte_size(content["size_bytes"]) + files if content["size_bytes"] or files else ""


def _time(text: str) -> str:
    """To the millisecond, which is what a person compares."""
    return f"{text[:23]}Z"


def _join(*parts: str | None) -> str:
    return " ".join(filter(None, parts))


def _clip(text: str, limit: int = _MAX_TEXT) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _plain(text: str) -> Line:
    return ((text, ""),)


def _named(name: str, text: str) -> Line:
    return ((f"{name} ", "dim"), (text, ""))
