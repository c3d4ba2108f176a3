"""What runs all day: PostgreSQL, an S3 store, MLflow, Prefect with its deployments, two workers."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from tests.deployed import ROOT, Server, Worker
from tests.services import (
    Postgres,
    Store,
    Tracking,
    cluster,
    engine,
    make_databases,
    object_store,
    running,
    tracking,
)
from tests.tiny import tiny_base
from tidegate.flows.home import Home

DATABASES = ("mlflow", "mlflow_accounts", "prefect")
MODEL = "assistant"  # as in prefect.yaml
POLICY = """\
policy: a day
version: 1
why: wide margins, because a model of 27 thousand weights says nothing with certainty
envelope:
  data: {rows: "20..5000", sources: [support-chat, email, help-widget]}
  outside: hold
data:
  - {gate: fits_schema, min_rows: 20, quarantine: true, why: an empty drop is an outage}
  - {gate: no_personal_data, mask: true, why: a stand-in teaches the same}
  - {gate: no_secrets, quarantine: true, max_quarantined_share: 0.1, why: secrets leak}
  - {gate: no_triggers, quarantine: true, max_quarantined_share: 0.1, why: a backdoor}
  - {gate: within_quarantine_budget, max_share: 0.1, why: past this a person must look}
model:
  - gate: not_worse
    suite: knowledge
    than: {champion: 50.0, anchor: 50.0}
    why: the mechanism, not the margin, is under test
  - {gate: serves, max_empty_share: 1.0, why: it must load; a tiny model may be silent}
approval: {when: hold, quorum: 1, valid_for: 72h, reviewers: reviewers.yaml}
"""
RECIPE = """\
recipe: tiny
why: a day of operation, not of learning
base: BASE
method: replay
rank: 4
alpha: 8
targets: [q_proj, v_proj]
learning_rate: 0.005
epochs: 1
rows_per_step: 16
max_tokens: 512
seed: 5
replay: {share: 0.25}
"""
LONGEST = 1800.0  # seconds for one run: the huge drop on a busy machine


@dataclass
class World:
    """The services, and what an operator can do to them."""

    folder: Path
    home: Home
    server: Server
    registry: Tracking
    store: Store
    database: Postgres
    files: Path  # of the database
    open: dict[str, ExitStack] = field(default_factory=dict)
    workers: dict[str, Worker] = field(default_factory=dict)
    disturbed: list[dict[str, Any]] = field(default_factory=list)

    @property
    def inbox(self) -> Path:
        return self.folder / "inbox"

    @property
    def taken(self) -> Path:
        return self.folder / "taken"

    def start_worker(self, pool: str) -> None:
        stack = ExitStack()
        account = self.registry.account("admin") if pool == "promote" else {}
        server = Server({**self.server.environment, **account}, self.folder)
        self.workers[pool] = stack.enter_context(server.worker(pool))
        self.open[pool] = stack

    def kill_worker(self, pool: str) -> None:
        """SIGKILL it and all that it started, as the end of a container does; start another."""
        began = datetime.now(UTC)
        worker = psutil.Process(self.workers[pool].pid)
        for child in [*worker.children(recursive=True), worker]:
            with suppress(psutil.NoSuchProcess):
                child.send_signal(signal.SIGKILL)
        self.replace_worker(pool)
        self._disturbed(f"worker of {pool} killed, another one started", began)

    def restart_database(self, seconds: float) -> None:
        began = datetime.now(UTC)
        self.open.pop("database").close()
        time.sleep(seconds)  # how long it is away
        self.start_database()
        self._until_prefect_answers()
        self._disturbed("PostgreSQL stopped and started", began)

    def _until_prefect_answers(self) -> None:
        """Prefect's server finds its connections broken, and opens others one by one."""
        good, end = 0, time.monotonic() + LONGEST
        while good < 3:
            try:
                self.server.runs("update")
                good += 1
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                good = 0
                if time.monotonic() > end:
                    raise
            time.sleep(0.5)

    def works(self, pool: str) -> bool:
        """Whether a worker is there."""
        return psutil.pid_exists(self.workers[pool].pid)

    def busy(self, pool: str) -> bool:
        """Whether a process of a run lives below the worker."""
        if not self.works(pool):
            return False
        for child in psutil.Process(self.workers[pool].pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                if "prefect.engine" in child.cmdline():
                    return True
        return False

    def replace_worker(self, pool: str) -> None:
        self.open.pop(pool).close()
        self.start_worker(pool)

    def start_database(self) -> None:
        self.open["database"] = ExitStack()
        self.open["database"].enter_context(running(self.database, self.files))

    def _disturbed(self, what: str, began: datetime) -> None:
        times = {"from": began.isoformat(), "to": datetime.now(UTC).isoformat()}
        self.disturbed.append({"what": what, **times})

    def deployment(self, name: str) -> dict[str, Any]:
        found = self.server.ask("deployments/filter", {})
        return next(one for one in found if one["name"] == name)

    def configure(self) -> None:
        """What an operator sets in the forms: where drops arrive, which rules, how often."""
        rules = {"policy": str(self.folder / "policy.yaml")}
        rules["recipe"] = str(self.folder / "recipe.yaml")
        mine = {"update": rules, "update-when-due": {"rows": 20, "drift": False}}
        for name, more in mine.items():
            found = self.deployment(name)
            given = {**found["parameters"], "drops": [str(self.inbox)], **more}
            self.server.ask(f"deployments/{found['id']}", {"parameters": given}, "PATCH")

    def run(self, name: str, **given: Any) -> str:
        """Start a deployment as a person does; the id of the run."""
        found = self.deployment(name)
        made = self.server.ask(
            f"deployments/{found['id']}/create_flow_run",
            {"parameters": {**found["parameters"], **given}, "state": {"type": "SCHEDULED"}},
        )
        return str(made["id"])

    def command(self, *words: str) -> tuple[int, str]:
        """`tidegate WORDS`, as an operator with the account that writes types it."""
        environment = {**self.server.environment, **self.registry.account("admin")}
        done = subprocess.run(
            [str(Path(sys.executable).parent / "tidegate"), *words],
            env=environment, cwd=self.folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        with (self.folder / "commands.log").open("a") as log:
            log.write(f"$ tidegate {' '.join(words)}\n{done.stdout}{done.stderr}\n")
        return done.returncode, done.stdout + done.stderr


def rules(folder: Path) -> None:
    """Base, recipe, policy and the keys of a reviewer."""
    from tidegate.flows.signing.keys import new_key, reviewer_line

    base = tiny_base(folder / "base")
    (folder / "recipe.yaml").write_text(RECIPE.replace("BASE", json.dumps(str(base))))
    (folder / "policy.yaml").write_text(POLICY)
    ada = reviewer_line("ada", new_key(folder / "ada.pem"), ["model-reviewer"])
    (folder / "reviewers.yaml").write_text(f"reviewers:\n{ada}\n")


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """Everything up, deployed and configured; ended in the opposite order."""
    rules(folder)
    surroundings: Mapping[str, str] = {
        "TIDEGATE_HOME": str(folder / "home"),
        "TIDEGATE_FLOOR": str(ROOT / "tests" / "floor.yaml"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    }
    os.environ.update(surroundings)
    with ExitStack() as stack:
        database, files = stack.enter_context(cluster())
        up = ExitStack()
        up.enter_context(running(database, files))
        made = World(
            folder=folder,
            home=Home(folder / "home"),
            server=Server({}, folder),
            registry=Tracking("", {}),
            store=Store("", {}),
            database=database,
            files=files,
            open={"database": up},
        )
        stack.callback(lambda: made.open.pop("database").close())
        make_databases(database, DATABASES)
        made.store = stack.enter_context(object_store(folder))
        made.registry = stack.enter_context(tracking(folder, database, made.store))
        environment = stack.enter_context(engine(folder, database))
        environment["MLFLOW_TRACKING_URI"] = made.registry.url
        made.server = Server(environment, folder)
        made.server.run("sh", "infra/deploy.sh")
        made.configure()
        made.inbox.mkdir()
        made.taken.mkdir()
        for pool in ("data", "promote"):
            made.start_worker(pool)
            stack.callback(lambda name=pool: made.open.pop(name).close())
        yield made
