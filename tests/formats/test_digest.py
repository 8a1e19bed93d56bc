"""Digests: their text, manifests that `sha256sum` agrees with, and files that are not what they seem."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage_ledger.errors import LineageError, MalformedError
from lineage_ledger.files import FilesError, digest_file, digest_folder, digest_path
from lineage_ledger.formats import digest
from lineage_ledger.formats.digest import ManifestFile
from lineage_ledger.v1 import entry_pb2 as pb

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/digests/manifests.json").read_text())
EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


@pytest.mark.parametrize("vector", VECTORS["manifests"], ids=lambda vector: vector["sha256"][:8])
def test_manifests(vector: dict[str, Any]) -> None:
    files = [ManifestFile(path, sha256(text), len(text)) for path, text in vector["files"].items()]
    for order in (files, files[::-1]):
        assert digest.manifest(order).decode() == vector["manifest"]
        assert digest.format_digest(digest.manifest_digest(order)) == f"sha256:{vector['sha256']}"


@pytest.mark.parametrize("path", [*VECTORS["refused_paths"], "\udcff"], ids=lambda path: ascii(path)[:30])
def test_paths_that_a_manifest_cannot_hold(path: str) -> None:
    with pytest.raises(MalformedError, match="path"):
        digest.manifest([ManifestFile(path, bytes(32), 0)])


def test_a_manifest_of_nothing_or_of_one_path_twice() -> None:
    with pytest.raises(MalformedError, match="no file"):
        digest.manifest([])
    with pytest.raises(MalformedError, match="twice"):
        digest.manifest([ManifestFile("a", bytes(32), 0), ManifestFile("a", bytes(32), 1)])
    with pytest.raises(MalformedError, match="31 bytes"):
        digest.manifest([ManifestFile("a", bytes(31), 0)])


@given(
    pair=st.sampled_from([(1, 32), (2, 64), (3, 20), (4, 16), (5, 4)]),
    seed=st.binary(min_size=64, max_size=64),
    sampled=st.booleans(),
)
def test_text_of_digests(pair: tuple[Any, int], seed: bytes, sampled: bool) -> None:
    message = pb.Digest(algorithm=pair[0], value=seed[: pair[1]], sampled=sampled)
    assert digest.parse_digest(digest.format_digest(message)) == message


NO_DIGESTS = [
    "",
    "sha256",
    "sha256:",
    "sha3:00",
    "md5:00",
    EMPTY[7:],
    EMPTY[:-1],
    EMPTY.upper(),
    EMPTY.replace("e3", "E3"),
    EMPTY.replace("e3", "_3"),
    EMPTY.replace("e3", "\N{ARABIC-INDIC DIGIT ONE}3"),
    f" {EMPTY}",
    f"{EMPTY}0",
    f"{EMPTY}\n",
    f"sampled:sampled:{EMPTY}",
]


@pytest.mark.parametrize("text", NO_DIGESTS, ids=lambda text: ascii(text)[:30])
def test_texts_that_are_no_digest(text: str) -> None:
    with pytest.raises(MalformedError, match="is not a digest"):
        digest.parse_digest(text)


def test_digests_that_have_no_text() -> None:
    with pytest.raises(MalformedError, match="algorithm 0 is unknown"):
        digest.format_digest(pb.Digest())
    with pytest.raises(MalformedError, match="32 bytes, not 20"):
        digest.sha256_digest(bytes(20))


def test_a_file(tmp_path: Path) -> None:
    empty, large = tmp_path / "empty", tmp_path / "large"
    empty.touch()
    large.write_bytes(bytes(range(256)) * 10_000)
    assert digest.format_digest(digest_path(empty).digest) == EMPTY
    content = digest_path(large)
    assert content == digest_file(large)
    assert content.digest.value == hashlib.sha256(large.read_bytes()).digest()
    assert (content.size_bytes, content.files) == (2_560_000, ())


def test_a_folder_is_what_sha256sum_prints(tmp_path: Path) -> None:
    for name, text in {
        "b": "2",
        "a/c": "3",
        "a.b": "4",
        "Z": "",
        "\u00e9": "5",
        "two  words": "6",
        "a/deep/er": "7",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "empty folder").mkdir()
    content = digest_path(tmp_path)
    assert content.size_bytes == 6
    assert [file.path for file in content.files] == ["Z", "a.b", "a/c", "a/deep/er", "b", "two  words", "\u00e9"]
    manifest = digest.manifest(content.files)
    assert content.digest.value == hashlib.sha256(manifest).digest()
    if shutil.which("sha256sum") is not None:
        command = ["sha256sum", "--", *(file.path for file in content.files)]
        assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout == manifest


def test_links_stay_inside(tmp_path: Path) -> None:
    folder, outside = tmp_path / "folder", tmp_path / "secret"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "file").write_text("x")
    outside.write_text("secret")
    (folder / "link").symlink_to("sub/file")
    content = digest_folder(folder)
    assert [file.path for file in content.files] == ["link", "sub/file"]
    assert content.files[0].sha256 == content.files[1].sha256
    (tmp_path / "alias").symlink_to(folder)
    assert digest_path(tmp_path / "alias") == content
    for target, problem in [
        (str(outside), "leads out of the folder"),
        ("../secret", "leads out of the folder"),
        ("../folder-2", "leads nowhere"),
        ("bad", "leads nowhere"),
        ("sub", "cannot be read|is neither"),
        (".", "cannot be read|is neither"),
    ]:
        (folder / "bad").symlink_to(target)
        with pytest.raises(FilesError, match=problem):
            digest_folder(folder)
        (folder / "bad").unlink()


def test_a_sibling_whose_name_begins_alike_is_outside(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data-2").mkdir()
    (tmp_path / "data-2" / "file").write_text("x")
    (tmp_path / "data" / "link").symlink_to(tmp_path / "data-2" / "file")
    with pytest.raises(FilesError, match="leads out of the folder"):
        digest_folder(tmp_path / "data")


@pytest.mark.parametrize("name", [b"new\nline", b"back\\slash", b"return\r", b"\xff"])
def test_hostile_names(tmp_path: Path, name: bytes) -> None:
    try:
        (tmp_path / os.fsdecode(name)).touch()
    except OSError:
        pytest.skip("this file system takes no such name")
    with pytest.raises(MalformedError, match="rename the file"):
        digest_folder(tmp_path)


def test_what_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MalformedError, match="no file"):
        digest_folder(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FilesError, match="is neither a file"):
        digest_folder(tmp_path)
    with pytest.raises(FilesError, match="is neither a file"):
        digest_path(tmp_path / "pipe")
    (tmp_path / "pipe").unlink()
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(FilesError):
            digest_folder(tmp_path)
    for missing in (tmp_path / "missing", tmp_path / "missing" / "deeper"):
        with pytest.raises(LineageError, match="cannot be read"):
            digest_path(missing)
        with pytest.raises(LineageError, match="cannot be read"):
            digest_folder(missing)


def test_a_file_that_is_rewritten_meanwhile_is_refused_also_if_its_time_is_put_back(tmp_path: Path) -> None:
    file = tmp_path / "rewritten"
    file.write_bytes(bytes(3 << 20))
    before = file.stat()

    def rewrite(_: int) -> None:
        with file.open("r+b") as other:
            other.seek(-1, os.SEEK_END)
            other.write(b"x")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.raises(FilesError, match="changed while it was read"):
        digest_file(file, rewrite)


def test_a_name_that_no_file_has_is_refused() -> None:
    for digest_it in (digest_path, digest_file, digest_folder):
        with pytest.raises(FilesError, match="cannot be read"):
            digest_it("a\0b")


def test_a_file_that_grows_meanwhile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "growing"
    file.write_bytes(bytes(10))
    fstat = os.fstat

    def grow_after(descriptor: int) -> os.stat_result:
        status = fstat(descriptor)
        with file.open("ab") as more:
            more.write(b"more")
        return status

    monkeypatch.setattr(os, "fstat", grow_after)
    with pytest.raises(FilesError, match="changed while it was read"):
        digest_file(file)
