"""Spans of a real update, received by a real collector: who is off, who is away, what is not said."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socket import socket
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.drops import row, rows, write
from tests.test_update import POLICY, WHOLE, World
from tidegate.flows import observing
from tidegate.flows.observing import each_stage, enabled, sayable, span, traced
from tidegate.gates.types import Action, Progress, ignore_progress

ENDPOINT = observing.ENDPOINTS[0]
HOSTILE = "Quetzalmarimba"  # of no other test: some search the shared Prefect home
STAGES = {"ingest", "check", "prepare", "train", "measure", "decide", "publish"}


class Collector:
    """An OTLP/HTTP receiver: what came, as bytes and decoded."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        bodies = self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *given: Any) -> None:
                """Not on the test's output."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def spans(self) -> list[Any]:
        return [
            found
            for body in self.bodies
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for found in scope.spans
        ]


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """The provider is made once in a process, for the collector that is named then."""
    observing._provider.cache_clear()
    yield
    observing._provider.cache_clear()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    made = Collector()
    monkeypatch.setenv(ENDPOINT, made.url)
    yield made
    made.server.shutdown()
    made.server.server_close()


def facts(of: Any) -> dict[str, Any]:
    kinds = ((a.key, a.value, a.value.WhichOneof("value")) for a in of.attributes)
    return {key.removeprefix("tidegate."): getattr(value, kind) for key, value, kind in kinds}


@pytest.mark.slow
def test_an_update_is_a_tree_of_spans_without_anybodys_text(
    tmp_path: Path, collector: Collector
) -> None:
    mail = f"{HOSTILE.lower()}@example.org"
    theirs = [
        row(
            900 + n, f"{HOSTILE} asks {n}", f"Write to {mail} {n}", user=HOSTILE, source=HOSTILE
        )
        for n in range(3)
    ]
    world = World(tmp_path / HOSTILE, POLICY + WHOLE)
    done = world.update(write(tmp_path / f"{HOSTILE}.jsonl", [*rows(24), *theirs]))
    assert done.decision.action is Action.PROMOTE
    spans = collector.spans()
    names = {s.span_id: s.name for s in spans}
    parents = {s.name: names.get(s.parent_span_id) for s in spans}
    assert len({s.trace_id for s in spans}) == 1
    assert parents["update"] is None
    assert {name for name, parent in parents.items() if parent == "update"} == STAGES
    asked = {name for name, parent in parents.items() if parent == "measure"}
    assert "measure knowledge of the candidate" in asked
    assert observing.WITHHELD not in names.values()
    said = {s.name: facts(s) for s in spans}
    assert said["ingest"]["rows"] == 27
    assert said["update"]["action"] == "promote"
    assert said["publish"]["statement"] == said["update"]["statement"] == done.statement
    (whole,) = [s for s in spans if s.name == "update"]
    ruled = [(facts(e)["gate"], facts(e)["outcome"]) for e in whole.events]
    assert ruled == [(r.gate, "pass") for r in done.decision.rulings]
    raw = b"".join(collector.bodies).lower()
    for text in (HOSTILE.lower(), "example.org", str(tmp_path).lower(), "cust-001", "t-0090"):
        assert text.encode() not in raw, text


@pytest.mark.slow
@pytest.mark.parametrize("answers", [False, None], ids=["refuses", "never answers"])
def test_a_collector_that_is_away_neither_fails_nor_delays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: bool | None
) -> None:
    with socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if answers is None:
            silent.listen()
        monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{silent.getsockname()[1]}")
        world = World(tmp_path, POLICY + WHOLE)
        done = world.update(write(tmp_path / "small.jsonl", rows(5)))
        assert done.decision.action is Action.REJECT
        with span("update"):
            began = time.monotonic()
        observing.flush()
        assert time.monotonic() - began < observing.GRACE + 0.5


def test_without_a_collector_nothing_is_imported_or_wrapped() -> None:
    code = (
        "import sys\n"
        "from tidegate.flows import observing\n"
        "with observing.span('update') as say:\n"
        "    say({'rows': 3})\n"
        "observing.flush()\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []
    with each_stage(ignore_progress) as same:
        assert same is ignore_progress


@pytest.mark.parametrize(
    ("name", "value", "on"),
    [
        (ENDPOINT, "http://127.0.0.1:1", True),
        (observing.ENDPOINTS[1], "http://127.0.0.1:1/v1/traces", True),
        (ENDPOINT, "", False),
    ],
)
def test_the_standard_variables_switch_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, on: bool
) -> None:
    monkeypatch.setenv(name, value)
    assert enabled() is on
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert not enabled()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Action.REJECT, "reject"),
        ("sha256:" + "0" * 64, "sha256:" + "0" * 64),
        ("u-3f6ad1c27be09f55d1aa", "u-3f6ad1c27be09f55d1aa"),
        ("no_secrets", "no_secrets"),
        (0.25, 0.25),
        ("Ada Lovelace", observing.WITHHELD),
        ("ada@example.org", observing.WITHHELD),
        ("/srv/drops/ada.jsonl", observing.WITHHELD),
        ("x" * 41, observing.WITHHELD),
        ("", observing.WITHHELD),
    ],
)
def test_what_could_be_somebodys_text_is_withheld(value: Any, said: Any) -> None:
    assert sayable(value) == said


def test_an_error_is_named_and_its_message_is_not_sent(collector: Collector) -> None:
    @traced("train", whole=True)
    def fails() -> None:
        raise ValueError(HOSTILE)

    with pytest.raises(ValueError, match=HOSTILE):
        fails()
    (found,) = collector.spans()
    assert facts(found)["error.type"] == "ValueError"
    assert HOSTILE.encode() not in b"".join(collector.bodies)


def test_a_stage_with_a_foreign_name_is_withheld(collector: Collector) -> None:
    with each_stage(ignore_progress) as report:
        report(Progress("measure knowledge of the anchor", 1, 2, "answers"))
        report(Progress(f"measure {HOSTILE}", 1, 2, "answers"))
    observing.flush()
    names = [found.name for found in collector.spans()]
    assert names == ["measure knowledge of the anchor", observing.WITHHELD]
