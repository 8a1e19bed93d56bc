"""Who may: roles by certificate and token, and what `lineage serve` refuses to listen on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import grpc
import pytest
import trustme

from lineage_ledger.errors import SettingsError
from lineage_ledger.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    append_pb2,
    append_pb2_grpc,
    proofs_pb2,
    proofs_pb2_grpc,
)
from lineage_ledger_server.services.access import AccessPolicy, Role, is_loopback, read_policy
from lineage_ledger_server.serving.settings import ServerSettings
from tests.support.rpc import reason_of
from tests.support.server import RunningServer

APPEND_TOKEN, READ_TOKEN = "append-secret", "read-secret"


def _policy(path: Path) -> Path:
    sections = [
        f'[[token]]\nsha256 = "{hashlib.sha256(token.encode()).hexdigest()}"\nroles = ["{role}"]\n'
        for token, role in ((APPEND_TOKEN, "append"), (READ_TOKEN, "read"))
    ]
    sections.append('[[certificate]]\ncommon_name = "boss"\nroles = ["admin"]\n')
    path.write_text("\n".join(sections))
    return path


def _calls(channel: grpc.Channel, token: str | None) -> dict[str, str]:
    """The reason with which a call of each role is refused; empty if it is let through."""
    metadata = [("authorization", f"Bearer {token}")] if token else []
    calls = {
        "append": lambda: append_pb2_grpc.AppendServiceStub(channel).GetLedger(
            append_pb2.GetLedgerRequest(), metadata=metadata, timeout=10
        ),
        "append stream": lambda: list(
            append_pb2_grpc.AppendServiceStub(channel).AppendStream(iter([]), metadata=metadata, timeout=10)
        ),
        "read": lambda: proofs_pb2_grpc.ProofServiceStub(channel).GetCheckpoint(
            proofs_pb2.GetCheckpointRequest(), metadata=metadata, timeout=10
        ),
        "consistency": lambda: proofs_pb2_grpc.ProofServiceStub(channel).GetConsistencyProof(
            proofs_pb2.GetConsistencyProofRequest(old_size=1), metadata=metadata, timeout=10
        ),
        "admin": lambda: admin_pb2_grpc.AdminServiceStub(channel).ListProducers(
            admin_pb2.ListProducersRequest(), metadata=metadata, timeout=10
        ),
    }
    found = {}
    for name, call in calls.items():
        try:
            call()
            found[name] = ""
        except grpc.RpcError as error:
            found[name] = reason_of(error)[1]
    return found


def test_tokens_give_their_role_and_no_other(tmp_path):
    policy = _policy(tmp_path / "access.toml")
    with (
        RunningServer(tmp_path / "l", "--access", str(policy)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        no, wrong = "ROLE_REQUIRED", "NOT_AUTHENTICATED"
        append, read = {"append": "", "append stream": ""}, {"read": ""}
        refused = {"append": no, "append stream": no, "read": no, "consistency": "", "admin": no}
        assert _calls(channel, APPEND_TOKEN) == refused | append
        assert _calls(channel, READ_TOKEN) == refused | read
        assert set(_calls(channel, "guess").values()) == {wrong}
        assert set(_calls(channel, None).values()) == {wrong}
        server.stop()
        log = server.data.with_suffix(".log").read_text()
        assert APPEND_TOKEN not in log
        assert "guess" not in log


def test_tls_lets_in_whoever_the_client_ca_signed_with_the_role_of_their_name(tmp_path):
    ca, stranger_ca = trustme.CA(), trustme.CA()
    server_certificate = ca.issue_cert("localhost")
    server_certificate.private_key_pem.write_to_path(tmp_path / "server.key")
    server_certificate.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    options = ["--tls-cert", tmp_path / "server.pem", "--tls-key", tmp_path / "server.key"]
    options += ["--client-ca", tmp_path / "ca.pem", "--access", _policy(tmp_path / "access.toml")]

    def channel(authority: trustme.CA | None, name: str) -> grpc.Channel:
        client = authority.issue_cert(f"{name}@example.com", common_name=name) if authority else None
        credentials = grpc.ssl_channel_credentials(
            root_certificates=ca.cert_pem.bytes(),
            private_key=client.private_key_pem.bytes() if client else None,
            certificate_chain=client.cert_chain_pems[0].bytes() if client else None,
        )
        return grpc.secure_channel(server.address.replace("127.0.0.1", "localhost"), credentials)

    with RunningServer(tmp_path / "l", *map(str, options)) as server:
        with channel(ca, "boss") as boss:
            assert set(_calls(boss, None).values()) == {""}
        with channel(ca, "somebody") as somebody:
            assert set(_calls(somebody, None).values()) == {"NOT_AUTHENTICATED"}
            assert _calls(somebody, READ_TOKEN)["read"] == ""
        for intruder in (channel(stranger_ca, "boss"), channel(None, ""), grpc.insecure_channel(server.address)):
            with intruder, pytest.raises(grpc.RpcError) as refused:
                append_pb2_grpc.AppendServiceStub(intruder).GetLedger(append_pb2.GetLedgerRequest(), timeout=5)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:7461", "example.com:7461", ":7461"])
def test_listening_beyond_loopback_needs_tls_or_the_word_insecure(listen):
    with pytest.raises(SettingsError, match="--insecure"):
        ServerSettings(data=Path("x"), listen=listen).credentials()
    assert ServerSettings(data=Path("x"), listen=listen, insecure=True).credentials() is None


@pytest.mark.parametrize(
    "listen",
    ["7461", "localhost", "", "unix:/run/l.sock", "::1:7461", "[::1]", "localhost:x", "localhost:70000", "h:-1"],
)
def test_an_address_that_is_none_is_said_to_be_none(listen):
    with pytest.raises(SettingsError, match="cannot listen on"):
        ServerSettings(data=Path("x"), listen=listen, insecure=True).credentials()


def test_half_of_tls_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="all of"):
        ServerSettings(data=Path("x"), tls_cert=tmp_path / "a").credentials()
    with pytest.raises(SettingsError, match="cannot be used"):
        ServerSettings(
            data=Path("x"), tls_cert=tmp_path / "a", tls_key=tmp_path / "b", client_ca=tmp_path / "c"
        ).credentials()


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1:1", True),
        ("localhost:1", True),
        ("[::1]:1", True),
        ("127.0.0.1.example.com:1", False),
        ("10.0.0.1:1", False),
    ],
)
def test_what_is_loopback(address, loopback):
    assert is_loopback(address) is loopback


@pytest.mark.parametrize(
    "text",
    [
        "[[token]]\nsha256='xyz'\nroles=['read']",
        "[[token]]\nsha256='" + "a" * 64 + "'\nroles=['owner']",
        "[[token]]\nsha256='" + "a" * 64 + "'\nroles='read'",
        "[[token]]\nsha256='" + "A" * 64 + "'\nroles=['read']",
        "[[token]]\nsha256='" + "a" * 64 + "'\nroles=['read']\nname='x'",
        "[[token]]\nroles=['read']",
        2 * ("[[token]]\nsha256='" + "a" * 64 + "'\nroles=['read']\n"),
        "[token]\nsha256='" + "a" * 64 + "'\nroles=['read']",
        "[[users]]\nname='x'",
        "[[certificate]]\ncommon_name=3\nroles=['read']",
        "not toml",
    ],
)
def test_access_files_are_read_strictly(tmp_path, text):
    path = tmp_path / "access.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"access\.toml"):
        read_policy(path)


def test_without_a_file_everyone_who_connects_appends_and_reads():
    assert AccessPolicy().roles_of(None, None) == {Role.APPEND, Role.READ}
