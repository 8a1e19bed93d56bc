"""`lineage record`: statements, each signed by a producer and acknowledged by the ledger."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click

from lineage_ledger.cli.options import Access, access_options, examples, key_file_option, output_option
from lineage_ledger.cli.output import Fields, Output
from lineage_ledger.cli.text import byte_size, plural
from lineage_ledger.cli.types import DIGEST, FILE, PAIR, REFERENCE, TIME
from lineage_ledger.errors import SettingsError
from lineage_ledger.formats import statement
from lineage_ledger.formats.describe import describe
from lineage_ledger.formats.keys import read_signing_key
from lineage_ledger.v1 import entry_pb2

MAX_LISTED_FILES: Final = 1_024
"""Files that an artifact can list (entry.proto); a folder of more is recorded by its manifest's digest alone."""
_MAX_PREDICATE_BYTES: Final = 32_768


def record_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the producer's key to where the ledger is and how to print."""
    return key_file_option("The producer's signing key.")(access_options(output_option(command)))


def pairs_option(name: str, help_text: str) -> Callable[..., Any]:
    """An option NAME=VALUE that may come several times."""
    return click.option(f"--{name}", f"{name}s", type=PAIR, multiple=True, metavar="NAME=VALUE", help=help_text)


@click.group(
    epilog=examples(
        "lineage record artifact --kind dataset data/train.parquet",
        "lineage record artifact --kind code --git .",
        "lineage record run --kind training --name fit --input sha256:9f86…08:training --output sha256:2c26…ae",
    )
)
def record() -> None:
    """Record what artifacts are and what was done with them.

    Each statement is signed with the producer's key (--key-file), sent, and waited for until the ledger has
    acknowledged it under a checkpoint of the pinned key. Digests may refer to what is recorded later.
    """


@record.command(
    epilog=examples(
        "lineage record artifact --kind dataset data/train.parquet --version 3 --attribute rows=45211",
        "lineage record artifact --kind model model/ --name churn",
        "lineage record artifact --kind code --git .",
        "lineage record artifact --kind other --name report --digest sha256:9f86…08 --uri s3://bucket/report.pdf",
    )
)
@click.argument("paths", type=click.Path(exists=True, path_type=Path), nargs=-1, metavar="[PATH]...")
@click.option("--kind", required=True, type=click.Choice(["dataset", "code", "environment", "model", "other"]))
@click.option("--digest", type=DIGEST, metavar="DIGEST", help="Digest of content that is not here, instead of a PATH.")
@click.option(
    "--git",
    "git_folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Checkout to record, instead of a PATH: tracked files, commit, and the diff if it is dirty.",
)
@click.option("--name", help="Name. [default: that of the file or folder]")
@click.option("--version", "version", default="", help="Version, at most 255 bytes.")
@click.option("--uri", default="", help="Where the content is, at most 2,048 bytes.")
@click.option("--media-type", default="", help="Such as application/vnd.apache.parquet.")
@click.option("--size-bytes", type=click.IntRange(min=0), default=0, help="Size of the content; only with --digest.")
@click.option("--created", type=TIME, default=0, help="When the content was made (RFC 3339).")
@pairs_option("attribute", "Anything else worth knowing; may come several times.")
@record_options
def artifact(
    paths: tuple[Path, ...],
    kind: statement.ArtifactKindName,
    digest: entry_pb2.Digest | None,
    git_folder: Path | None,
    name: str | None,
    version: str,
    uri: str,
    media_type: str,
    size_bytes: int,
    created: int,
    attributes: Sequence[tuple[str, str]],
    key_file: Path,
    access: Access,
    out: Output,
) -> None:
    """Record datasets, code, environments, models and the like.

    A file's digest is its SHA-256; a folder's that of what `sha256sum` prints for its files. Several PATHs are several
    artifacts.
    """
    if (bool(paths) + (digest is not None) + (git_folder is not None)) != 1:
        raise click.UsageError("give PATHs, or --digest, or --git")
    if git_folder is not None and kind != "code":
        raise click.UsageError("--git is for --kind code")
    if size_bytes and digest is None:
        raise click.UsageError("--size-bytes is for --digest; of a PATH it is measured")
    if name is not None and len(paths) > 1:
        raise click.UsageError("--name is for one PATH; several are recorded under their own names")
    common: dict[str, Any] = {
        "kind": kind,
        "version": version,
        "uri": uri,
        "media_type": media_type,
        "attributes": _mapping(attributes, "--attribute"),
        "created_time_unix_ns": created,
    }
    if digest is not None:
        if name is None:
            raise click.UsageError("--digest needs a --name")
        entries = [statement.artifact(digest=digest, name=name, size_bytes=size_bytes, **common)]
    elif git_folder is not None:
        entries = [_code_entry(git_folder, name, common, out)]
    else:
        entries = [_content_entry(path, name, common, out) for path in paths]
    _append(entries, key_file, access, out)


@record.command(
    epilog=examples(
        (
            "lineage record run --kind training --name fit --code sha256:5feb…e9"
            " --environment sha256:4bf5…5a --input sha256:9f86…08:training --output sha256:2c26…ae:model"
            " --parameter depth=3 --metric auc=0.91"
        ),
        "lineage record run --kind preprocessing --name clean --input sha256:6b86…4b --output sha256:9f86…08",
    )
)
@click.option(
    "--kind",
    required=True,
    type=click.Choice(["training", "preprocessing", "feature_engineering", "evaluation", "other"]),
)
@click.option("--name", required=True, help="Name, 1 to 255 bytes.")
@click.option("--run-id", default="", help="The tracker's own id of it.")
@click.option(
    "--input", "inputs", type=REFERENCE, multiple=True, metavar="DIGEST[:ROLE]", help="Artifact used; several times."
)
@click.option(
    "--output",
    "outputs",
    type=REFERENCE,
    multiple=True,
    metavar="DIGEST[:ROLE]",
    help="Artifact generated; several times.",
)
@click.option("--code", type=DIGEST, metavar="DIGEST", help="The code artifact.")
@click.option("--environment", type=DIGEST, metavar="DIGEST", help="The environment artifact.")
@click.option("--start", type=TIME, default=0, help="Start (RFC 3339).")
@click.option("--end", type=TIME, default=0, help="End (RFC 3339).")
@click.option("--command", "command_line", default="", help="The command line, at most 4,096 bytes.")
@pairs_option("parameter", "Parameter; may come several times.")
@pairs_option("metric", "Metric; may come several times.")
@record_options
def run(
    kind: statement.RunKindName,
    name: str,
    run_id: str,
    inputs: Sequence[tuple[entry_pb2.Digest, str]],
    outputs: Sequence[tuple[entry_pb2.Digest, str]],
    code: entry_pb2.Digest | None,
    environment: entry_pb2.Digest | None,
    start: int,
    end: int,
    command_line: str,
    parameters: Sequence[tuple[str, str]],
    metrics: Sequence[tuple[str, str]],
    key_file: Path,
    access: Access,
    out: Output,
) -> None:
    """Record a run, which used artifacts and generated artifacts."""
    entry = statement.run(
        kind=kind,
        name=name,
        run_id=run_id,
        inputs=inputs,
        outputs=outputs,
        code=code,
        environment=environment,
        start_time_unix_ns=start,
        end_time_unix_ns=end,
        command=command_line,
        parameters=_mapping(parameters, "--parameter"),
        metrics=_mapping(metrics, "--metric"),
    )
    _append([entry], key_file, access, out)


@record.command(
    epilog=examples(
        (
            "lineage record deployment --name churn-eu --model sha256:2c26…ae"
            " --server-software 'uvicorn 0.30' --endpoint https://models.example.com/churn"
            " --valid-from 2026-03-01T12:00:00Z"
        ),
    )
)
@click.option("--name", required=True, help="Name, 1 to 255 bytes.")
@click.option("--model", required=True, type=DIGEST, metavar="DIGEST", help="The model artifact.")
@click.option("--configuration", type=DIGEST, metavar="DIGEST", help="The configuration.")
@click.option("--image", type=DIGEST, metavar="DIGEST", help="The container image.")
@click.option("--code", type=DIGEST, metavar="DIGEST", help="The serving code.")
@click.option("--environment", type=DIGEST, metavar="DIGEST", help="The serving environment.")
@click.option("--server-software", default="", help='Server software with version, such as "kserve 0.21.0".')
@click.option("--endpoint", default="", help="Address of the model, at most 2,048 bytes.")
@click.option("--valid-from", type=TIME, default=0, help="Since when it is meant to answer (RFC 3339).")
@click.option("--valid-until", type=TIME, default=0, help="Until when, if it is known (RFC 3339).")
@pairs_option("attribute", "Anything else worth knowing; may come several times.")
@record_options
def deployment(
    name: str,
    model: entry_pb2.Digest,
    configuration: entry_pb2.Digest | None,
    image: entry_pb2.Digest | None,
    code: entry_pb2.Digest | None,
    environment: entry_pb2.Digest | None,
    server_software: str,
    endpoint: str,
    valid_from: int,
    valid_until: int,
    attributes: Sequence[tuple[str, str]],
    key_file: Path,
    access: Access,
    out: Output,
) -> None:
    """Record a deployment: a model put behind an address.

    Its leaf hash is what an emitter binds predictions to.
    """
    entry = statement.deployment(
        name=name,
        model=model,
        configuration=configuration,
        image=image,
        code=code,
        environment=environment,
        server=server_software,
        endpoint=endpoint,
        valid_from_unix_ns=valid_from,
        valid_until_unix_ns=valid_until,
        attributes=_mapping(attributes, "--attribute"),
    )
    _append([entry], key_file, access, out)


@record.command(
    epilog=examples(
        (
            "lineage record attestation --subject sha256:2c26…ae --type https://example.com/review/v1"
            " --predicate review.json --attester 'Risk office' --sign-with risk.key"
        ),
    )
)
@click.option("--subject", required=True, type=DIGEST, metavar="DIGEST", help="The artifact that it is about.")
@click.option("--type", "predicate_type", required=True, metavar="URI", help="Kind of opinion, as a URI.")
@click.option("--predicate", type=FILE, help="File that holds the opinion, at most 32,768 bytes.")
@click.option("--attester", default="", help="Who says it, at most 255 bytes.")
@click.option("--sign-with", type=FILE, help="The attester's own signing key. [default: not signed by the attester]")
@record_options
def attestation(
    subject: entry_pb2.Digest,
    predicate_type: str,
    predicate: Path | None,
    attester: str,
    sign_with: Path | None,
    key_file: Path,
    access: Access,
    out: Output,
) -> None:
    """Record an attestation: a signed opinion about an artifact."""
    signer = read_signing_key(sign_with)[1] if sign_with is not None else None
    entry = statement.attestation(
        subject=subject,
        predicate_type=predicate_type,
        time_unix_ns=time.time_ns(),
        predicate=_read_predicate(predicate) if predicate is not None else b"",
        attester=attester,
        signer=signer,
        origin=access.verifier.name if signer is not None else "",
    )
    _append([entry], key_file, access, out)


def _append(entries: Sequence[bytes], key_file: Path, access: Access, out: Output) -> None:
    from lineage_ledger.cli.append import append_statements

    verifier, (_, key) = access.verifier, read_signing_key(key_file)
    with access.connect() as connection:
        logged = append_statements(connection, verifier, key, entries)
    documents = []
    for entry, place in zip(entries, logged, strict=True):
        described = describe(entry)
        kind = described["kind"]
        document = {"kind": kind, "index": place.index, "leaf_hash": place.leaf_hash.hex()}
        rows = [("recorded", kind), ("index", str(place.index)), ("leaf hash", place.leaf_hash.hex())]
        if "name" in described[kind]:
            document["name"] = described[kind]["name"]
            rows.insert(1, ("name", described[kind]["name"]))
        if "digest" in described[kind]:
            document["digest"] = described[kind]["digest"]
            rows.insert(2, ("digest", described[kind]["digest"]))
        documents.append(document)
        out.view(Fields(rows))
    out.show({"recorded": documents})


def _content_entry(path: Path, name: str | None, common: dict[str, Any], out: Output) -> bytes:
    from lineage_ledger.files import digest_path

    with out.progress(path.name, _size_of(path)) as on_read:
        content = digest_path(path, on_read)
    files = content.files
    if len(files) > MAX_LISTED_FILES:
        out.remark(f"{path}: {len(files):,} files, more than an entry lists; recorded by the digest of their manifest")
        files = ()
    return statement.artifact(
        digest=content.digest, name=name or path.resolve().name, size_bytes=content.size_bytes, files=files, **common
    )


def _size_of(path: Path) -> int:
    """Bytes to read, as far as it can be said beforehand."""
    files = path.rglob("*") if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files if file.is_file())


def _code_entry(folder: Path, name: str | None, common: dict[str, Any], out: Output) -> bytes:
    from lineage_ledger.cli.git import read_working_tree

    tree = read_working_tree(folder)
    if tree.untracked:
        out.remark(f"{folder}: {plural(tree.untracked, 'untracked file')} not recorded; `git add` what matters")
    return statement.artifact(
        digest=tree.digest, name=name or tree.name, size_bytes=tree.size_bytes, code=tree.code, **common
    )


def _mapping(pairs: Sequence[tuple[str, str]], option: str) -> dict[str, statement.AttributeValue]:
    found: dict[str, statement.AttributeValue] = {}
    for name, value in pairs:
        if name in found:
            raise click.UsageError(f"{option} {name} is given twice")
        found[name] = value
    return found


def _read_predicate(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_PREDICATE_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"cannot read the predicate in {path}: {error.strerror}") from error
    if len(content) > _MAX_PREDICATE_BYTES:
        raise SettingsError(f"{path}: a predicate has at most {byte_size(_MAX_PREDICATE_BYTES)}; attest to its digest")
    return content
