"""Settings from variables and a file: what they give, and what is said of those that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineage_ledger.emitter import Emitter
from lineage_ledger.emitter.policy import WaitFor, WhenFull
from lineage_ledger.emitter.settings import EmitterSettings
from lineage_ledger.errors import SettingsError
from lineage_ledger.formats.keys import SigningKey, write_signing_key
from lineage_ledger.formats.note import Verifier
from lineage_ledger.formats.witness_policy import WitnessPolicy
from lineage_ledger.rpc.endpoint import Endpoint

COMPLETE = {"LINEAGE_SERVER": "127.0.0.1:7461", "LINEAGE_VERIFIER_KEY": "o+1+x", "LINEAGE_KEY_FILE": "/k"}


def test_variables_come_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "lineage.toml"
    file.write_text('server = "unix:/s"\nlinger_ms = 5\nwhen_full = "block"\nspool = "/sp"\n')
    settings = EmitterSettings.read(file, {**COMPLETE, "LINEAGE_FAIL_CLOSED": "true", "LINEAGE_MAX_BATCH_ENTRIES": "9"})
    assert settings.endpoint.target == "127.0.0.1:7461" and settings.spool == Path("/sp")
    policy = settings.policy
    assert (policy.linger_ms, policy.fail_closed, policy.max_batch_entries) == (5.0, True, 9)
    assert policy.when_full is WhenFull.BLOCK
    assert EmitterSettings.read(None, {**COMPLETE, "LINEAGE_CONFIG": str(file)}).policy.linger_ms == 5.0


def test_the_command_and_the_emitter_share_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("verifier.key").write_text("o+1+x\n")
    Path("lineage.toml").write_text(
        f'server = "127.0.0.1:1"\nverifier_key = "verifier.key"\nkey_file = "k"\ndeployment = "{"ab" * 32}"\n'
        'commitment_key_file = "c"\ntimeout_s = 5\n[find]\nlimit = 3\n'
    )
    settings = EmitterSettings.read(None, {})
    assert (settings.verifier_key, settings.deployment) == ("o+1+x", b"\xab" * 32)


def test_an_emitter_binds_to_the_deployment_of_its_settings(tmp_path: Path) -> None:
    key = SigningKey.generate()
    write_signing_key(tmp_path / "k", "p", key)
    variables = {
        "LINEAGE_SERVER": "127.0.0.1:1",
        "LINEAGE_VERIFIER_KEY": str(Verifier("o", key.public_key)),
        "LINEAGE_KEY_FILE": str(tmp_path / "k"),
    }
    with EmitterSettings.read(None, {**variables, "LINEAGE_DEPLOYMENT": "ab" * 32}).emitter() as emitter:
        assert emitter.bind().deployment_hash == b"\xab" * 32
        assert emitter.bind(bytes(32)).row == 2
    with EmitterSettings.read(None, variables).emitter() as emitter, pytest.raises(SettingsError, match="DEPLOYMENT"):
        emitter.bind()


@pytest.mark.parametrize("name", sorted(COMPLETE))
def test_what_is_missing_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        EmitterSettings.read(None, {key: value for key, value in COMPLETE.items() if key != name})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("linger = 3", "no setting 'linger'"),
        ("linger_ms = 'x'", "linger_ms must be a number"),
        ("linger_ms = true", "linger_ms must be a number"),
        ("fail_closed = 1", "fail_closed must be true or false"),
        ("server = 3", "server must be text"),
        ("deployment = 'abc'", "64 hex digits"),
        ("server =", "is not TOML"),
        ("max_batch_entries = 0", "max_batch_entries must be 1 to"),
        ("when_full = 'burn'", "when_full must be one of"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "lineage.toml"
    file.write_text(content)
    environment = {
        name: value for name, value in COMPLETE.items() if name != "LINEAGE_SERVER" or "server" not in content
    }
    with pytest.raises(SettingsError, match=said):
        EmitterSettings.read(file, environment)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(SettingsError, match="No such file"):
        EmitterSettings.read("/nowhere/lineage.toml", COMPLETE)


def test_a_token_never_crosses_a_network_in_the_clear() -> None:
    with pytest.raises(SettingsError, match="unencrypted"):
        Endpoint("example.com:7461", token="secret")
    with pytest.raises(SettingsError, match="unencrypted"):
        Endpoint("127.example.com:7461", token="secret")
    assert "secret" not in repr(Endpoint("127.0.0.1:7461", token="secret"))
    with pytest.raises(SettingsError, match="both"):
        Endpoint("localhost:1", ca_file=Path("/c"), key_file=Path("/k"))


def test_a_token_can_be_kept_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    variables = {**COMPLETE, "LINEAGE_TOKEN_FILE": str(tmp_path / "token")}
    assert EmitterSettings.read(None, variables).endpoint.token == "secret"
    with pytest.raises(SettingsError, match="token_file"):
        EmitterSettings.read(None, {**COMPLETE, "LINEAGE_TOKEN_FILE": str(tmp_path / "none")})


def test_a_witness_policy_is_read_and_goes_with_what_is_witnessed(tmp_path: Path) -> None:
    file = tmp_path / "policy"
    file.write_text("quorum none\n")
    policy = WitnessPolicy.parse(file.read_bytes())
    variables = {**COMPLETE, "LINEAGE_WITNESS_POLICY": str(file), "LINEAGE_WAIT_FOR": "witnessed"}
    assert EmitterSettings.read(None, variables).witness_policy == policy
    assert EmitterSettings.read(None, COMPLETE).witness_policy is None
    key = SigningKey.generate()
    with pytest.raises(SettingsError, match="witnessed"):
        Emitter("127.0.0.1:1", ledger=str(Verifier("o", key.public_key)), key=key, witness_policy=policy)
    for content in ("", "quorum nobody\n"):
        file.write_text(content)
        with pytest.raises(SettingsError, match="witness_policy"):
            EmitterSettings.read(None, variables)


def test_a_checkpoint_file_turns_proofs_on_unless_they_are_off(tmp_path: Path) -> None:
    assert not EmitterSettings.read(None, COMPLETE).policy.prove
    variables = {**COMPLETE, "LINEAGE_CHECKPOINT_FILE": "/c"}
    settings = EmitterSettings.read(None, variables)
    assert settings.policy.prove and settings.checkpoint_file == Path("/c")
    settings = EmitterSettings.read(None, {**variables, "LINEAGE_PROVE": "no", "LINEAGE_WAIT_FOR": "witnessed"})
    assert not settings.policy.prove and settings.checkpoint_file is None
    assert settings.policy.wait_for is WaitFor.WITNESSED
    with pytest.raises(SettingsError, match="wait_for"):
        EmitterSettings.read(None, {**COMPLETE, "LINEAGE_WAIT_FOR": "soon"})
