"""The demo's story: what it does in which order, and what it makes sure of on the way."""

from __future__ import annotations

import json
import platform
import re
import shlex
import shutil
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Final

import click

from lineage_ledger.files import digest_path
from lineage_ledger.formats.digest import format_digest
from lineage_ledger_server.demo import tamper, traffic
from lineage_ledger_server.demo.shell import Background, DemoError, Shell, accepts, free_port

ORIGIN: Final = "demo.example/ledger"
MIN_REQUESTS: Final = 512
"""Enough that the prediction that is looked at lies in a full bundle."""

_SCRIPTS: Final = ("prepare.py", "environment.py", "train.py", "evaluate.py", "serve.py", "open_commitment.py")
_TRAINING: Final = {"regularization": "0.5", "max-iterations": "1000"}


class Story:
    """The demo in one folder, step by step; `tell` is all of it. Every step raises `DemoError` if it fails."""

    def __init__(self, shell: Shell, requests: int) -> None:
        self._shell = shell
        self._folder = shell.folder
        self._requests = requests
        self._step = 0
        self._digests: dict[str, str] = {}
        self._ledger_port = free_port()
        self._model_port = free_port()

    def tell(self) -> None:
        ledger = self._start_ledger()
        self._record_what_there_is()
        self._train()
        deployment = self._deploy()
        told = self._serve(deployment)
        self._prove(told)
        self._audit(told, ledger)
        self._say_what_to_try(told)

    # -- the steps -------------------------------------------------------------------------------------------

    def _start_ledger(self) -> Background:
        self._title("Start a ledger, and register who may append to it")
        address = f"127.0.0.1:{self._ledger_port}"
        ledger = self._shell.start(
            *("lineage", "serve", "--data", "ledger", "--listen", address, "--origin", ORIGIN),
            log="ledger.log",
            is_ready=lambda: accepts(self._ledger_port),
        )
        (self._folder / "keys").mkdir(mode=0o700)
        verifier_key = (self._folder / "ledger" / "verifier.key").read_text().strip()
        self._write("ledger.vkey", verifier_key + "\n")
        self._write(
            "lineage.toml",
            f'server = "{address}"\nverifier_key = "{verifier_key}"\nkey_file = "keys/model-team.key"\n',
        )
        self._note("lineage.toml says where the ledger is, and which key of it is trusted:")
        click.secho(f"    {verifier_key}", dim=True)
        for name in ("model-team", "risk-office"):
            self._shell.run("lineage", "keygen", f"keys/{name}.key", "--name", name)
        self._shell.run("lineage", "producers", "add", "--data", "ledger", "--key-file", "keys/model-team.key")
        return ledger

    def _record_what_there_is(self) -> None:
        self._title("Put the data, the code and the environment on record, by digest")
        (self._folder / "code").mkdir()
        for script in _SCRIPTS:
            source = resources.files("lineage_ledger_server.demo") / "project" / script
            self._write(f"code/{script}", source.read_text(encoding="utf-8"))
        self._shell.run("python", "code/prepare.py")
        self._record("artifact", "--kind", "dataset", "data/train.csv", "data/test.csv")
        named = ("--name", "tumour-classifier")
        if self._commit_code():
            self._digests["code"] = self._record("artifact", "--kind", "code", "--git", "code", *named)["digest"]
        else:
            self._note("git is not installed: the code is recorded by its files alone")
            self._digests["code"] = self._record("artifact", "--kind", "code", "code", *named)["digest"]
        self._shell.run("python", "code/environment.py")
        attributes = {"python": platform.python_version(), "platform": platform.platform(terse=True)}
        self._digests["environment"] = self._record(
            *("artifact", "--kind", "environment", "environment.txt"), *_pairs("--attribute", attributes)
        )["digest"]

    def _train(self) -> None:
        self._title("Train a model, evaluate it, and have the risk office sign its opinion")
        training = ["python", "code/train.py", *(word for name in _TRAINING for word in (f"--{name}", _TRAINING[name]))]
        times = self._timed(*training)
        model = self._record("artifact", "--kind", "model", "model", "--name", "tumour-classifier")["digest"]
        common = ("--code", self._digests["code"], "--environment", self._digests["environment"])
        self._digests["model"] = model
        self._record(
            *("run", "--kind", "training", "--name", "fit", *common, *times, "--command", " ".join(training)),
            *("--input", f"{self._digest('data/train.csv')}:training", "--output", f"{model}:model"),
            *_pairs("--parameter", _TRAINING),
        )
        times = self._timed("python", "code/evaluate.py")
        metrics = {name: str(value) for name, value in json.loads(self._read("evaluation.json")).items()}
        self._record("artifact", "--kind", "other", "evaluation.json")
        self._record(
            *("run", "--kind", "evaluation", "--name", "evaluate", *common, *times, *_pairs("--metric", metrics)),
            *("--input", f"{model}:model", "--input", f"{self._digest('data/test.csv')}:test"),
            *("--output", f"{self._digest('evaluation.json')}:metrics"),
        )
        self._record(
            *("attestation", "--subject", model, "--type", "https://demo.example/approval/v1"),
            *("--predicate", "evaluation.json", "--attester", "Risk office", "--sign-with", "keys/risk-office.key"),
        )

    def _deploy(self) -> str:
        self._title("Put the model behind an address")
        return self._record(
            *("deployment", "--name", "tumour-classifier", "--model", self._digests["model"]),
            *("--code", self._digests["code"], "--environment", self._digests["environment"]),
            *("--server-software", f"uvicorn {version('uvicorn')}", "--endpoint", self._url),
        )["leaf hash"]

    def _serve(self, deployment: str) -> traffic.Exchange:
        self._title(f"Serve it, and send it {self._requests:,} requests")
        self._note("These three lines of code/serve.py put every answer on record:")
        for line in self._read("code/serve.py").splitlines():
            if line.startswith(("from lineage_ledger", "app = ")):
                click.secho(f"    {line}", fg="green")
        self._write(
            "lineage.toml",
            self._read("lineage.toml") + f'deployment = "{deployment}"\ncommitment_key_file = "keys/commitment.key"\n',
        )
        server = self._shell.start(
            *("python", "code/serve.py", str(self._model_port)),
            log="model-server.log",
            is_ready=lambda: accepts(self._model_port),
        )
        sent = traffic.send(self._url, self._folder / "data" / "test.csv", self._requests)
        server.stop()  # It drains: what it emitted is on record then.
        self._note(
            f"{len(sent.exchanges):,} answers in {sent.seconds:.1f} s, each with an id of its own in the header "
            "x-lineage-prediction-id."
        )
        self._note("Somebody outside keeps the ledger's signed checkpoint, so that nobody can cut the log unnoticed:")
        self._shell.run("lineage", "checkpoint", "-o", "kept.checkpoint")
        # The most doubtful answer is the one that somebody will ask about; the first half lies in full bundles.
        return min(
            sent.exchanges[: self._requests // 2], key=lambda sent: abs(json.loads(sent.answered)["benign"] - 0.5)
        )

    def _prove(self, told: traffic.Exchange) -> None:
        self._title("Months later, given one id: what made this answer?")
        self._write("request.json", told.asked)
        self._write("response.json", told.answered)
        prediction_id = str(told.prediction_id)
        self._note(f"The answer: {told.answered.decode()} (request.json, response.json)")
        self._shell.run("lineage", "trace", prediction_id, live=True)
        self._title("A receipt proves the same offline: no server, no network, only the file and the ledger's key")
        self._shell.run("lineage", "receipt", prediction_id, "-o", "prediction.receipt")
        verified = self._shell.run("lineage", "verify", "prediction.receipt", "--key", "ledger.vkey", last_lines=5)
        if prediction_id not in verified:
            raise DemoError("the verified receipt does not name the prediction")
        self._note("The ledger holds commitments, not contents. With the model server's key they open:")
        self._shell.run("python", "code/open_commitment.py", "prediction.receipt", "request.json", "response.json")

    def _audit(self, told: traffic.Exchange, ledger: Background) -> None:
        self._title("Publish the log as files, and have somebody audit it who has nothing else")
        index = json.loads(self._shell.run("lineage", "show", str(told.prediction_id), "--json", shown=False))["index"]
        if ledger.stop():
            raise DemoError("the ledger did not stop as it should; see ledger.log")
        self._note(
            "The ledger is stopped now. Its files are those of C2SP tlog-tiles, which others' tools verify, too:"
        )
        self._shell.run("lineage", "export", "--data", "ledger", "public")
        checks = ("--key", "ledger.vkey", "--checkpoint", "kept.checkpoint")
        self._shell.run("lineage", "audit", "--folder", "public", *checks)
        self._note("How often was the model asked, and is no answer missing?")
        counted = self._shell.run(
            *("lineage", "completeness", "--folder", "public", "--key", "ledger.vkey"),
            *("--checkpoint", "kept.checkpoint", "--model", self._digests["model"]),
        )
        if f"{self._requests:,}" not in counted:
            raise DemoError("the predictions that were counted are not those that were made")
        self._title(f"Change one stored byte of entry {index}, in a copy, and audit that")
        shutil.copytree(
            self._folder / "ledger", self._folder / "changed-copy", ignore=shutil.ignore_patterns("*.sock", "lock")
        )
        file, offset = tamper.flip_byte(self._folder / "changed-copy", index)
        self._note(f"One bit was flipped, in byte {offset:,} of {file.relative_to(self._folder)}.")
        found = self._shell.run("lineage", "audit", "--data", "changed-copy", *checks, expected=1)
        if not re.search(rf"\b{index}\b", found):
            raise DemoError(f"the audit did not name entry {index}")

    def _say_what_to_try(self, told: traffic.Exchange) -> None:
        self._title("Done. Everything is left in that folder; what to try next:")
        here = Path(sys.executable).parent
        found = shutil.which("lineage")
        if found is None or Path(found).parent != here:
            self._try(f"export PATH={shlex.quote(str(here))}:$PATH")
        self._try(f"cd {shlex.quote(str(self._folder))}")
        self._try(f"lineage serve --data ledger --listen 127.0.0.1:{self._ledger_port}", "in a terminal of its own")
        self._try("lineage stats --data ledger")
        self._try(f"lineage find --request-id {told.request_id}")
        self._try(f"lineage trace {self._digests['model']}")
        self._try(f"lineage show {told.prediction_id} --json")
        self._try(f"python code/serve.py {self._model_port}", "in another one")
        self._try(f"curl -i --data @request.json {self._url}")

    # -- what the steps are made of --------------------------------------------------------------------------

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._model_port}/predict"

    def _title(self, text: str) -> None:
        self._step += 1
        click.secho(f"\n{self._step}. {text}", bold=True)

    @staticmethod
    def _note(text: str) -> None:
        click.echo(f"    {text}")

    @staticmethod
    def _try(command: str, comment: str = "") -> None:
        click.echo("  " + click.style(command, fg="cyan") + (f"  # {comment}" if comment else ""))

    def _record(self, *words: str) -> dict[str, str]:
        """Record a statement; what the command printed of the last one, by name."""
        printed = self._shell.run("lineage", "record", *words)
        fields = dict(re.findall(r"^(digest|leaf hash) +(\S+)$", printed, re.MULTILINE))
        if "leaf hash" not in fields:
            raise DemoError("`lineage record` did not say what it recorded")
        return fields

    def _timed(self, *words: str) -> tuple[str, ...]:
        """Run a command; when it began and ended, as options of `lineage record run`."""
        begin = time.time()
        self._shell.run(*words)
        return ("--start", _rfc3339(begin), "--end", _rfc3339(time.time()))

    def _commit_code(self) -> bool:
        """Make code/ a git checkout with one commit; False if git is not installed."""
        if shutil.which("git") is None:
            return False
        git = ("git", "-C", "code")
        author = (
            "-c",
            "user.name=Model team",
            "-c",
            "user.email=model-team@demo.example",
            "-c",
            "commit.gpgsign=false",
        )
        self._shell.run("git", "init", "--quiet", "--initial-branch=main", "code")
        self._shell.run(*git, "add", ".")
        self._shell.run(*git, *author, "commit", "--quiet", "-m", "Train and serve the tumour classifier")
        return True

    def _digest(self, path: str) -> str:
        return format_digest(digest_path(self._folder / path).digest)

    def _write(self, name: str, content: str | bytes) -> None:
        (self._folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    def _read(self, name: str) -> str:
        return (self._folder / name).read_text(encoding="utf-8")


def _pairs(option: str, values: dict[str, str]) -> Iterable[str]:
    for name, value in values.items():
        yield from (option, f"{name}={value}")


def _rfc3339(time_unix_s: float) -> str:
    return datetime.fromtimestamp(time_unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
