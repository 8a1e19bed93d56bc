"""PostgreSQL, as Debian has it, with a hash chain: the ledger that people build themselves.

A table of payloads and hashes; triggers compute row hash = sha256(hash of the row before || payload). A trigger before
each statement takes a lock, which is held until the commit, because the chain has one end; it reads the last hash and
leaves it in a setting of the transaction, where the trigger of each row takes it up. Of three ways that were tried,
this was the fastest for COPY: reading the last row for each new one came to two thirds of it, and one row that holds
the chain's end to a fraction, as each change of it in a transaction leaves a version behind.
`sha256` is PostgreSQL's own since version 11, so pgcrypto is not needed.

`fsync=on` and `synchronous_commit=on` are its defaults and said again (strace: one fdatasync a commit). Shared buffers
of 256 MB and a write-ahead log of up to 4 GB, so that checkpoints do not fall into the runs. Unix socket, one
connection a caller, psycopg 3 with binary COPY. Whoever may write to the database may write the chain anew: nothing
is signed.
"""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers import environments
from benchmarks.peers.contract import Append, Case, Claims, NotRunError, Peer
from benchmarks.peers.processes import find, running

_REQUIREMENTS = ("psycopg[binary]==3.3.9",)
_DATABASE = "postgres"
_USER = "benchmark"
# The server refuses to run as root.
_UNPRIVILEGED = ("postgres", "nobody")
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "max_connections": "50",
}
_SCHEMA = """
CREATE TABLE entries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payload bytea NOT NULL,
    hash bytea NOT NULL
);
CREATE FUNCTION take_end() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE last bytea;
BEGIN
    PERFORM pg_advisory_xact_lock(1);
    SELECT hash INTO last FROM entries ORDER BY id DESC LIMIT 1;
    PERFORM set_config('chain.last', encode(coalesce(last, ''), 'hex'), true);
    RETURN NULL;
END $$;
CREATE FUNCTION add_link() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.hash := sha256(decode(current_setting('chain.last'), 'hex') || NEW.payload);
    PERFORM set_config('chain.last', encode(NEW.hash, 'hex'), true);
    RETURN NEW;
END $$;
CREATE TRIGGER take_end BEFORE INSERT ON entries FOR EACH STATEMENT EXECUTE FUNCTION take_end();
CREATE TRIGGER add_link BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION add_link();
"""
_BROKEN = """
SELECT count(*) FROM (SELECT payload, hash, lag(hash, 1, ''::bytea) OVER (ORDER BY id) AS before FROM entries) AS links
WHERE hash <> sha256(before || payload)
"""


def _programs() -> Path:
    """The folder of its programs: the newest version of Debian's, or what is on PATH."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version_of, reverse=True)
    found = find("initdb", *versions)
    if found is None:
        raise NotRunError("PostgreSQL is not on this machine; `apt-get install postgresql` brings it")
    return found.resolve().parent


def _version_of(programs: Path) -> int:
    name = programs.parent.name
    return int(name) if name.isdigit() else 0


def _user() -> str | None:
    if os.getuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    for name in _UNPRIVILEGED:
        if name in known:
            return name
    raise NotRunError(f"PostgreSQL does not run as root, and there is no user {' or '.join(_UNPRIVILEGED)} here")


@contextmanager
def _serve(_environment: Path, folder: Path) -> Iterator[str]:
    programs, user = _programs(), _user()
    if user is not None:
        shutil.chown(folder, user)
    data = folder / "data"
    as_user: list[str | Path] = ["setpriv", f"--reuid={user}", "--clear-groups"] if user is not None else []
    environments.call(
        [*as_user, programs / "initdb", "--pgdata", data, "--username", _USER, "--auth", "trust", "--no-sync"],
        step="initdb",
    )
    settings = [f"--{name}={value}" for name, value in {**_SETTINGS, "unix_socket_directories": folder}.items()]
    socket = folder / ".s.PGSQL.5432"
    pid = data / "postmaster.pid"
    with running(
        [programs / "postgres", "-D", data, *settings],
        log=folder / "server.log",
        user=user,
        ready=lambda: socket.exists() and "ready" in pid.read_text(encoding="ascii"),
    ):
        yield f"host={folder} user={_USER} dbname={_DATABASE}"


class _Store:
    def __init__(self, address: str) -> None:
        import psycopg

        self._address = address
        self._connection = psycopg.connect(address, autocommit=True)
        self._connection.execute(_SCHEMA)
        self.version = f"{self._setting('server_version')}, psycopg {psycopg.__version__}"
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            if self._setting(name) != "on":
                raise RuntimeError(f"{name} is {self._setting(name)}")

    def _setting(self, name: str) -> str:
        (value,) = self._connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
        return str(value)

    @contextmanager
    def caller(self, case: Case) -> Iterator[Append]:
        import psycopg

        with psycopg.connect(self._address, autocommit=True) as connection:
            # The plan is made before the time that is measured begins.
            connection.prepare_threshold = 0

            def insert(batch: Sequence[bytes]) -> None:
                connection.execute("INSERT INTO entries (payload) SELECT unnest(%b::bytea[])", (list(batch),))

            def insert_one(batch: Sequence[bytes]) -> None:
                connection.execute("INSERT INTO entries (payload) VALUES (%b)", batch)

            def copy(batch: Sequence[bytes]) -> None:
                with connection.cursor().copy("COPY entries (payload) FROM STDIN (FORMAT binary)") as rows:
                    rows.set_types(["bytea"])
                    for entry in batch:
                        rows.write_row((entry,))

            if case.name.startswith("COPY"):
                yield copy
            else:
                yield insert_one if case.batch == 1 else insert

    def count(self) -> int:
        (count,) = self._connection.execute("SELECT count(*) FROM entries").fetchone()
        return int(count)

    def check(self) -> None:
        (broken,) = self._connection.execute(_BROKEN).fetchone()
        if broken:
            raise ValueError(f"{broken:,} links of the chain are broken")

    def close(self) -> None:
        self._connection.close()


PEER = Peer(
    name="postgresql",
    title="PostgreSQL with a hash chain by triggers",
    claims=Claims(
        is_ledger=True,
        tamper_evidence="hash chain",
        signed=False,
        entry_proof="none",
        durability="synced (fsync=on, synchronous_commit=on)",
        checks="counted after each run; every link of the chain at the end",
        request_ids_indexed=False,
        place="server",
    ),
    cases=(
        Case("COPY of 50,000", 50_000),
        Case("COPY of 4,096", 4_096, quick=False),
        Case("INSERT of 64 rows", 64),
        Case("INSERT of one row", 1),
        Case("INSERT of one row, 30 callers", 1, callers=30),
    ),
    requirements=_REQUIREMENTS,
    serve=_serve,
    connect=_Store,
)
