"""The command without a ledger: help, settings, what is refused, and how errors end it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from lineage_ledger import kernel
from lineage_ledger._version import __version__
from lineage_ledger.cli import app, git
from lineage_ledger.cli import settings as cli_settings
from lineage_ledger.cli.app import lineage
from lineage_ledger.cli.types import parse_hash, parse_pair, parse_reference, parse_time, read_line
from lineage_ledger.emitter import settings as emitter_settings
from lineage_ledger.errors import LineageError, SettingsError
from lineage_ledger.formats import keys
from lineage_ledger.formats.note import Verifier
from tests.cli.recorded_ledger import DIGEST, make_checkout, run, run_json

OWN = ("keygen", "producers", "record", "show", "find", "trace", "receipt", "verify", "checkpoint", "monitor", "stats")
VKEY = str(Verifier("example.com/ledger/test", keys.SigningKey.from_seed(bytes(32)).public_key))


def _commands() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(lineage)
    for name in OWN:
        command = lineage.get_command(context, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {below}", command.commands[below]) for below in command.list_commands(context))


ALL = dict(_commands())


@pytest.mark.parametrize("name", ALL)
def test_every_command_explains_itself(name: str) -> None:
    result = run(*name.split(), "--help")
    assert result.exit_code == 0, result.output
    assert "\n  Examples:\n    lineage " in result.stdout
    assert max(map(len, result.stdout.split("Examples:")[1].splitlines())) <= 80
    command = ALL[name]
    summary = command.get_short_help_str(limit=200)
    assert "\n" not in summary
    assert len(summary) <= 66, summary
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not isinstance(parameter.type, click.Choice):
            assert parameter.help, parameter.name
            assert parameter.help[0].isupper()


@pytest.mark.parametrize("name", [name for name, command in ALL.items() if not isinstance(command, click.Group)])
def test_every_command_prints_json_and_names_no_option_twice(name: str) -> None:
    options = [option for parameter in ALL[name].params for option in parameter.opts]
    assert "--json" in options
    assert len(options) == len(set(options))


@pytest.mark.parametrize("name", [name for name in ALL if name not in OWN or name in ("show", "trace", "keygen")])
def test_examples_use_options_that_exist(name: str) -> None:
    epilog = ALL[name].epilog or ""
    known = {option for parameter in ALL[name].params for option in parameter.opts}
    used = {word for word in epilog.split() if word.startswith("--")}
    assert used
    assert used <= known


def test_a_hash_alone_is_answered_with_how_to_ask() -> None:
    for name in ("show", "trace"):
        result = run(name, "ab" * 32, "--verifier-key", VKEY)
        assert result.exit_code == 1
        assert f"sha256:{'ab' * 32}" in result.stderr
        assert "its index" in result.stderr


def test_a_folder_that_no_server_serves_is_named_with_what_to_do(tmp_path: Path) -> None:
    result = run("stats", "--data", tmp_path, "--verifier-key", VKEY)
    assert result.exit_code == 1
    assert f"`lineage serve --data {tmp_path}`" in result.stderr


def test_what_is_neither_a_verifier_key_nor_a_file_is_said_to_be(tmp_path: Path) -> None:
    result = run("verify", tmp_path / "receipt", "--key", "ledger.vkay")
    assert result.exit_code == 2
    assert "'ledger.vkay' is neither a verifier key" in result.stderr


def test_the_command_tells_version_and_commands() -> None:
    # Which kernel is in use tells why hashing is slow; the Python, which of several installations this is.
    python = ".".join(map(str, sys.version_info[:3]))
    assert run("--version").stdout == f"lineage, version {__version__} (Python {python})\nkernel: {kernel.describe()}\n"
    listed = run("--help").stdout
    for name in (*OWN, "serve", "audit", "demo"):
        assert f"\n  {name}" in listed
    unknown = run("nonsense")
    assert unknown.exit_code == 2
    assert "nonsense" in unknown.stderr


@pytest.mark.parametrize("name", ["serve", "export", "index", "demo"])
def test_without_the_server_its_commands_say_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "entry_points", lambda **_: ())
    monkeypatch.setattr(lineage, "commands", {})
    result = run(name, "--data", "x", "anything")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "install lineage-ledger-server" in result.stderr
    as_json = run(name, "--json")
    assert as_json.exit_code == 2
    assert "lineage-ledger-server" in json.loads(as_json.stderr)["error"]["message"]
    assert run(name, "--help").exit_code == 0
    assert "install lineage-ledger-server" in run("--help").stdout.replace("\n             ", " ")


def test_without_the_server_its_folder_is_not_audited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineage_ledger.cli.audit.entry_points", lambda **_: ())
    result = run("audit", "--data", tmp_path, "--key", VKEY)
    assert result.exit_code == 2
    assert "(--data), install lineage-ledger-server" in result.stdout
    assert "this is not a pass" in result.stdout


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra_the_command_says_what_to_install(missing: str) -> None:
    script = f"import sys; sys.modules[{missing!r}] = None; from lineage_ledger.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == f"error: the command needs {missing}: install lineage-ledger[cli]\n"


def test_ctrl_c_is_neither_a_yes_nor_a_no(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lineage_ledger.cli.verify._read", interrupt)
    result = run("verify", tmp_path / "receipt", "--key", VKEY)
    assert result.exit_code == 130
    assert result.stderr == "error: interrupted\n"
    as_json = run("verify", tmp_path / "receipt", "--key", VKEY, "--json")
    assert as_json.exit_code == 130
    assert json.loads(as_json.stderr)["error"]["kind"] == "Interrupted"


def test_usage_errors_are_json_for_who_wants_json() -> None:
    for arguments in (("show",), ("find",), ("show", "0", "--nonsense"), ("nonsense",), ("record", "artifact")):
        result = run(*arguments, "--json")
        assert (result.exit_code, result.stdout) == (2, ""), arguments
        assert json.loads(result.stderr)["error"]["kind"] == "UsageError"


def test_keygen(tmp_path: Path) -> None:
    file = tmp_path / "producer.key"
    document = run_json("keygen", file, "--name", "model-server")
    assert set(document) == {"key_file", "name", "public_key"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    name, key = keys.read_signing_key(file)
    assert (name, key.public_key.hex()) == ("model-server", document["public_key"])
    secret = file.read_text()
    again = run("keygen", file, "--name", "model-server")
    assert again.exit_code == 1
    assert file.read_text() == secret
    for bad in ("two words", "a+b", "", "a\nb", "x" * 256):
        assert run("keygen", tmp_path / "other.key", "--name", bad).exit_code != 0
        assert not (tmp_path / "other.key").exists()


def test_a_key_that_is_missing_or_open_to_others(tmp_path: Path) -> None:
    access = ("--server", "127.0.0.1:1", "--verifier-key", VKEY)
    missing = run("producers", "add", *access, "--key-file", tmp_path / "none.key", "--admin-key", tmp_path / "a.key")
    assert missing.exit_code == 1
    assert "lineage keygen" in missing.stderr
    key = tmp_path / "open.key"
    run_json("keygen", key, "--name", "open")
    key.chmod(0o644)
    arguments = ("record", "artifact", "--kind", "other", "--digest", DIGEST, "--name", "x", "--key-file", key)
    refused = run(*arguments, *access)
    assert refused.exit_code == 1
    assert "chmod 600" in refused.stderr
    assert key.read_text().strip() not in refused.output
    assert run("producers", "add", *access).exit_code == 2
    assert run("producers", "retire", *access, "00" * 32, "--last-block", 1).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("artifact", "--kind", "dataset"), "PATHs"),
        (("artifact", "--kind", "dataset", "--digest", DIGEST), "--name"),
        (("artifact", "--kind", "dataset", "--git", "."), "--kind code"),
        (("artifact", "--kind", "nonsense", "--digest", DIGEST, "--name", "x"), "nonsense"),
        (("artifact", "--kind", "other", "--digest", "sha256:abc", "--name", "x"), "64 lower-case hex"),
        (("artifact", "--kind", "other", "--digest", DIGEST, "--name", "x", "--attribute", "novalue"), "NAME=VALUE"),
        (
            (
                "artifact",
                "--kind",
                "other",
                "--digest",
                DIGEST,
                "--name",
                "x",
                "--attribute",
                "a=1",
                "--attribute",
                "a=2",
            ),
            "twice",
        ),
        (("run", "--kind", "training", "--name", "x", "--input", "train.csv"), "not a digest"),
        (("run", "--kind", "training", "--name", "x", "--start", "yesterday"), "RFC 3339"),
        (("deployment", "--name", "x"), "--model"),
    ],
)
def test_record_refuses_what_it_does_not_understand(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    key = tmp_path / "producer.key"
    keys.write_signing_key(key, "p", keys.SigningKey.generate())
    result = run("record", *arguments, "--key-file", key, "--verifier-key", VKEY)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in " ".join(result.stderr.split())


def test_record_refuses_what_the_format_does_not_allow(tmp_path: Path) -> None:
    key = tmp_path / "producer.key"
    keys.write_signing_key(key, "p", keys.SigningKey.generate())
    common = ("--key-file", key, "--verifier-key", VKEY, "--server", "127.0.0.1:1")
    for arguments in (
        ("artifact", "--kind", "other", "--digest", DIGEST, "--name", "x" * 256),
        ("attestation", "--subject", DIGEST, "--type", "t", "--predicate", tmp_path),
        ("attestation", "--subject", DIGEST, "--type", "t", "--predicate", tmp_path / "none"),
        ("artifact", "--kind", "dataset", tmp_path / "pipe"),
        ("artifact", "--kind", "code", "--git", tmp_path),
    ):
        if not (tmp_path / "pipe").exists():
            os.mkfifo(tmp_path / "pipe")
        result = run("record", *arguments, *common)
        assert result.exit_code in (1, 2), arguments
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert result.stdout == ""


# -- settings ------------------------------------------------------------------------------------------------


def test_settings_come_from_option_variable_and_file_in_that_order(tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(f'server = "127.0.0.1:3"\nverifier_key = "{VKEY}"\ntimeout_s = 0.5\n[find]\nlimit = 7\n')

    def target(*arguments: str, env: dict[str, str | None] | None = None) -> str:
        return run("--config", config, "show", "0", *arguments, env=env).stderr

    assert "127.0.0.1:3:" in target()
    assert "127.0.0.1:2:" in target(env={"LINEAGE_SERVER": "127.0.0.1:2"})
    assert "127.0.0.1:1:" in target("--server", "127.0.0.1:1", env={"LINEAGE_SERVER": "127.0.0.1:2"})
    assert "127.0.0.1:3:" in run("show", "0", env={"LINEAGE_CONFIG": str(config)}).stderr
    Path("lineage.toml").write_text(config.read_text())
    assert "127.0.0.1:3:" in run("show", "0").stderr
    assert "127.0.0.1:3:" in run("producers", "list").stderr


def test_shared_variables_reach_the_servers_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, object] = {}

    @click.command()
    @click.option("--data")
    @click.option("--listen")
    def serve(data: str, listen: str) -> None:
        told.update(data=data, listen=listen)
        if listen == "nowhere":
            raise PermissionError(13, "Permission denied", "the\x1b[2Jfolder")

    monkeypatch.setattr(lineage, "commands", {"serve": serve})
    config = tmp_path / "settings.toml"
    config.write_text('data = "of the file"\n[serve]\nlisten = "127.0.0.1:0"\n')
    assert run("--config", config, "serve").exit_code == 0
    assert told == {"data": "of the file", "listen": "127.0.0.1:0"}
    run("--config", config, "serve", env={"LINEAGE_DATA": "of the variable"})
    assert told["data"] == "of the variable"
    failed = run("serve", env={"LINEAGE_SERVE_LISTEN": "nowhere"})
    assert failed.exit_code == 1
    assert failed.stderr == "error: [Errno 13] Permission denied: 'the\\x1b[2Jfolder'\n"


@pytest.mark.parametrize("content", ["server = ", "\xff", "x" * 2_000_000, "find = 3"])
def test_a_settings_file_that_is_none(content: str, tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_bytes(content.encode("latin-1"))
    result = run("--config", config, "find", "--request-id", "x")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert run("--config", tmp_path / "none.toml", "find").exit_code == 1


def test_settings_have_the_names_of_the_emitters() -> None:
    names = {*emitter_settings._REQUIRED, *emitter_settings._OPTIONAL} - {"spool", "deployment"}
    assert names <= cli_settings.SHARED
    options = {parameter.name for command in ALL.values() for parameter in command.params}
    assert options >= cli_settings.SHARED


def test_a_token_is_never_shown(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("open-sesame\n")
    cases: list[tuple[tuple[str, ...], dict[str, str | None]]] = [
        (("--token-file", str(token)), {}),
        (("--token", "open-sesame"), {}),
        ((), {"LINEAGE_TOKEN": "open-sesame"}),
    ]
    for arguments, env in cases:
        for server in ("127.0.0.1:1", "ledger.example.com:7461"):
            result = run("show", "0", "--server", server, "--verifier-key", VKEY, "--timeout-s", 1, *arguments, env=env)
            assert result.exit_code == 1
            assert "open-sesame" not in result.output
    refused = run("show", "0", "--server", "example.com:1", "--verifier-key", VKEY, "--token", "x")
    assert "unencrypted" in refused.stderr
    help_text = run("show", "--help", env={"LINEAGE_TOKEN": "open-sesame"})
    assert "open-sesame" not in help_text.output


# -- types ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "time_unix_ns"),
    [
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("2026-03-01", 1_772_323_200_000_000_000),
        ("2026-03-01T00:00Z", 1_772_323_200_000_000_000),
        ("2026-03-01 01:00:00+01:00", 1_772_323_200_000_000_000),
        ("2026-03-01T00:00:00.123456789", 1_772_323_200_123_456_789),
    ],
)
def test_times(text: str, time_unix_ns: int) -> None:
    assert parse_time(text) == time_unix_ns


@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "1970-01-01", "1969-12-31", "2600-01-01", "2026-02-30", "2026-03-01T25:00"),
        *("2026-03-01T00:00:00.1234567890Z", "٢٠٢٦-03-01"),
    ],
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_time(text)


def test_references_pairs_and_hashes() -> None:
    digest, role = parse_reference(f"{DIGEST}:train:1")
    assert (digest.value.hex(), role) == (DIGEST[7:], "train:1")
    assert parse_reference(f"sampled:{DIGEST}")[0].sampled
    assert parse_pair("a=b=c") == ("a", "b=c")
    assert parse_pair("a=") == ("a", "")
    assert parse_hash("ab" * 32) == b"\xab" * 32
    for parse, text in ((parse_reference, "train.csv"), (parse_pair, "=b"), (parse_pair, "a"), (parse_hash, "AB" * 32)):
        with pytest.raises(ValueError, match=r".+"):
            parse(text)


def test_one_line_files(tmp_path: Path) -> None:
    file = tmp_path / "line"
    for content in (b"a\nb\n", b"\xff", b"a" * 5_000):
        file.write_bytes(content)
        with pytest.raises(SettingsError):
            read_line(file)
    file.write_bytes(b"a\r\n")
    assert read_line(file) == "a"


# -- git -----------------------------------------------------------------------------------------------------


def test_a_clean_checkout_has_no_diff(tmp_path: Path) -> None:
    folder = make_checkout(tmp_path / "code")
    dirty = git.read_working_tree(folder)
    assert (dirty.code.dirty, dirty.untracked, dirty.name) == (True, 1, "code")
    subprocess.run(["git", "-C", folder, "checkout", "--quiet", "--", "."], check=True)
    clean = git.read_working_tree(folder)
    assert not clean.code.dirty
    assert not clean.code.HasField("diff")
    assert clean.digest != dirty.digest
    subprocess.run(["git", "-C", folder, "checkout", "--quiet", "--detach"], check=True)
    assert git.read_working_tree(folder).code.branch == ""


def test_a_users_git_settings_do_not_change_the_diff(tmp_path: Path) -> None:
    folder = make_checkout(tmp_path / "code")
    plain = git.read_working_tree(folder).code.diff
    for name, value in (
        ("diff.external", "false"),
        ("color.diff", "always"),
        ("diff.noprefix", "true"),
        ("diff.context", "0"),
        ("diff.algorithm", "patience"),
        ("diff.renames", "false"),
    ):
        subprocess.run(["git", "-C", folder, "config", name, value], check=True)
    assert git.read_working_tree(folder).code.diff == plain


def test_what_git_cannot_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(git.GitError):
        git.read_working_tree(tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    subprocess.run(["git", "-C", empty, "init", "--quiet"], check=True)
    with pytest.raises(git.GitError):
        git.read_working_tree(empty)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LineageError, match="not installed"):
        git.read_working_tree(tmp_path)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:secret@example.com/a.git", "https://example.com/a.git"),
        ("https://token@example.com:8443/a", "https://example.com:8443/a"),
        ("https://a@b@example.com/a", "https://example.com/a"),
        ("git@example.com:a/b.git", "git@example.com:a/b.git"),
        ("https://example.com/a@b", "https://example.com/a@b"),
    ],
)
def test_credentials_in_a_remote_are_not_recorded(url: str, shown: str) -> None:
    assert git.without_credentials(url) == shown
