"""Messages go to a real HTTP server, once, and without what is not theirs to say."""

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.lineage_world import MODEL
from tidegate.flows.home import Home
from tidegate.flows.notifying import VARIABLE, tell_decided, tell_findings
from tidegate.flows.one_update import UpdateResult
from tidegate.flows.reconciling.finding import Finding, Kind
from tidegate.gates.decide import decide
from tidegate.gates.types import Action, Outcome, Ruling, Verdict

PASSWORD = "hunter2hunter2"


class Inbox:
    """A service that takes Apprise's JSON, and what it was told."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.answer = 200
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                inbox.told.append(json.loads(body))
                self.send_response(inbox.answer)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: what was told is looked at instead."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://ada:{PASSWORD}@127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def inbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    found = Inbox()
    monkeypatch.setenv(VARIABLE, found.url)
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def home(tmp_path: Any) -> Home:
    return Home(tmp_path / "home")


def result(action: Action, home: Home, statement: str = "a") -> UpdateResult:
    outcome = Outcome.PASS if action is Action.PROMOTE else Outcome.FAIL
    verdict = Verdict(
        outcome=outcome, reason="the mean change is -0.4", observed=-0.4, limit=-0.1
    )
    ruling = Ruling(
        gate="g", title="not_worse(refusal)", verdict=verdict, action=action, why="w"
    )
    return UpdateResult(
        update_id="u-1", decision=decide([ruling]), document={}, model=MODEL, version="4",
        run_id="r", statement=f"sha256:{statement * 64}", report=home.root / "report.html",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("action", "says"),
    [(Action.HOLD, "was held"), (Action.REJECT, "was rejected"), (Action.PROMOTE, None)],
)
def test_what_waits_for_a_person_is_told_once(
    action: Action, says: str | None, inbox: Inbox, home: Home
) -> None:
    for _ in range(2):
        assert tell_decided(home, result(action, home)) is (says is not None)
    assert len(inbox.told) == (1 if says else 0)
    if says:
        (told,) = inbox.told
        assert told["title"] == f"tidegate: {MODEL} version 4 {says}"
        assert "not_worse(refusal): the mean change is -0.4" in told["message"]
        assert ("tidegate approve 4" in told["message"]) is (action is Action.HOLD)
        assert tell_decided(home, result(action, home, "b")) and len(inbox.told) == 2


def test_what_was_not_delivered_is_told_again(
    inbox: Inbox, home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    inbox.answer = 500
    with caplog.at_level(logging.DEBUG, "tidegate"):
        assert not tell_decided(home, result(Action.HOLD, home))
    assert "tried again on the next run" in caplog.text and PASSWORD not in caplog.text
    inbox.answer = 200
    assert tell_decided(home, result(Action.HOLD, home))
    assert len(inbox.told) == 2 and inbox.told[0]["message"] == inbox.told[1]["message"]


@pytest.mark.parametrize("urls", ["", "   "])
def test_nobody_to_tell(urls: str, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, urls)
    assert not tell_decided(home, result(Action.HOLD, home))
    assert not home.root.exists()


def test_an_address_that_is_none_stops_nothing(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(VARIABLE, f"nonsense-{PASSWORD}")
    assert not tell_decided(home, result(Action.HOLD, home))
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("tidegate")]
    assert ours == [f"{VARIABLE} holds a URL that Apprise cannot read; nobody was told"]


def finding(version: int) -> Finding:
    return Finding(
        kind=Kind.ALIAS_MOVED, model=MODEL, version=str(version), what="champion was moved by hand",
        do="tidegate reconcile --repair",
    )  # fmt: skip


def test_findings_are_told_once_until_they_were_gone(inbox: Inbox, home: Home) -> None:
    many = [finding(n) for n in range(8)]
    assert tell_findings(home, many) and tell_findings(home, many[::-1])
    assert len(inbox.told) == 1 and "… and 3 more" in inbox.told[0]["message"]
    assert inbox.told[0]["title"].endswith("from the ledger in 8 places")
    assert tell_findings(home, many[:1]) and len(inbox.told) == 2
    assert not tell_findings(home, [])
    assert tell_findings(home, many) and len(inbox.told) == 3
