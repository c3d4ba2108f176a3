"""MLflow traces as a drop: real traces and assessments in a real SQLite store."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tidegate.flows.home import Home
from tidegate.flows.ingest import IngestError, ingest
from tidegate.flows.intake.connectors import mlflow_traces
from tidegate.flows.intake.pseudonym import pseudonym
from tidegate.gates.types import Batch

KEY = b"k" * 32
ASKED = {"messages": [{"role": "user", "content": "q"}]}
ANSWER = {"role": "assistant", "content": "a"}
CHOICES = {"choices": [{"message": ANSWER}], "model": "m@1"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home whose MLflow holds one experiment, `chats`, with every trace of this file."""
    import mlflow
    from mlflow.entities import AssessmentSource

    home = Home(tmp_path_factory.mktemp("mlflow"))
    before, inherited = mlflow.get_tracking_uri(), os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(f"sqlite:///{home.mlflow_database}")
    mlflow.create_experiment("chats", artifact_location=home.mlflow_artifacts.as_uri())
    mlflow.create_experiment("empty", artifact_location=home.mlflow_artifacts.as_uri())
    mlflow.set_experiment("chats")

    def trace(
        name: str, inputs: Any, outputs: Any, user: str | None = "bob", **tags: str
    ) -> str:
        with mlflow.start_span(name) as span:
            span.set_inputs(inputs)
            with mlflow.start_span("retrieve") as child:
                child.set_inputs({"messages": ["of a child"]})
            span.set_outputs(outputs)
            metadata = {"mlflow.trace.user": user} if user else None
            mlflow.update_current_trace(tags={"case": name, **tags}, metadata=metadata)
        return str(span.trace_id)

    human = AssessmentSource(source_type="HUMAN", source_id="bob")
    judge = AssessmentSource(source_type="LLM_JUDGE", source_id="m")
    rated = trace("rated", ASKED, CHOICES, consent="true", source="web", language="en")
    down = trace("down", ASKED, CHOICES, consent="true")
    corrected = trace("corrected", ASKED, CHOICES, consent="True")
    judged = trace("judged", ASKED, CHOICES, consent="true")
    trace("silent", ASKED, CHOICES)
    trace("refused", ASKED, CHOICES, consent="no")
    trace("text", "plain question", "plain answer", consent="true")
    trace("state", ASKED, {"messages": [*ASKED["messages"], ANSWER]},
          consent="true", record_id="chat-7", signature="tidegate1.…")  # fmt: skip
    trace("nobody", ASKED, CHOICES, user=None, consent="true")
    trace("no chat", {"x": 1}, CHOICES, consent="true")
    trace("no answer", ASKED, {"x": 1}, consent="true")
    mlflow.flush_trace_async_logging()
    mlflow.log_feedback(trace_id=rated, name="user_feedback", value=False, source=human)
    mlflow.log_feedback(
        trace_id=rated, name="user_feedback", value=True, rationale="nice", source=human
    )
    mlflow.log_feedback(trace_id=down, name="thumbs", value=False, source=human)
    mlflow.log_feedback(trace_id=corrected, name="thumbs", value=False, source=human)
    mlflow.log_expectation(trace_id=corrected, name="correction", value="better", source=human)
    mlflow.log_feedback(trace_id=judged, name="user_feedback", value=False, source=judge)
    yield home.root
    mlflow.set_tracking_uri(before)
    # MLflow also writes the variable that commands take as their --tracking-uri.
    if inherited is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)


def run(store: Path, folder: Path, drop: str, **defaults: object) -> Batch:
    return ingest(
        [drop], home=Home(store), out=folder / "out", pseudonym_key=KEY, defaults=defaults
    )


def stored(store: Path, batch: Batch) -> dict[str, dict[str, Any]]:
    rows = pq.read_table(Home(store).batch(batch.digest) / "records.parquet").to_pylist()
    return {json.loads(row["tags"])["case"]: row for row in rows}


def test_traces_become_records(store: Path, tmp_path: Path) -> None:
    batch = run(store, tmp_path, "mlflow:chats")
    assert (batch.read, batch.rows, batch.unreadable, batch.without_consent) == (11, 6, 3, 2)
    rows = stored(store, batch)
    rated = rows["rated"]
    assert rated["id"].startswith("tr-") and rated["user"] == pseudonym(KEY, "bob")
    assert abs(datetime.now(UTC) - rated["time"]) < timedelta(minutes=5)
    said = ("source", "language", "model", "rating", "comment", "prompt", "response", "learn")
    assert [rated[name] for name in said] == [
        "web", "en", "m@1", "up", "nice", "user: q", "a", "target",
    ]  # fmt: skip
    learned = {case: (r["rating"], r["response"], r["learn"]) for case, r in rows.items()}
    assert learned == {
        "rated": ("up", "a", "target"),
        "down": ("down", "a", "negative"),
        "corrected": ("down", "better", "target"),
        "judged": (None, "a", "target"),
        "text": (None, "plain answer", "target"),
        "state": (None, "a", "target"),
    }
    state = rows["state"]
    assert (state["id"], state["signature"]) == ("chat-7", "tidegate1.…")
    assert json.loads(state["tags"]) == {"case": "state"} and rated["signature"] is None
    lines = (tmp_path / "out" / "unreadable.jsonl").read_text().splitlines()
    bad = [json.loads(line) for line in lines]
    assert all(line["file"] == "mlflow:chats" and line["line"] <= 11 for line in bad)
    assert sorted(line["reason"].split(": ", 1)[1] for line in bad) == [
        "no user: neither mlflow.trace.user nor a default",
        "the root span's inputs hold no messages in OpenAI's chat form",
        "the root span's outputs hold no answer in OpenAI's chat form",
    ]


def test_pages_and_a_named_store_give_the_same(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(store, tmp_path, "mlflow:chats")
    monkeypatch.setattr(mlflow_traces, "AT_A_TIME", 2)
    uri = f"sqlite:///{Home(store).mlflow_database}"
    assert run(store, tmp_path, f"mlflow:{uri}#chats") == whole


def test_defaults_name_a_user_but_never_give_consent(store: Path, tmp_path: Path) -> None:
    batch = run(store, tmp_path, "mlflow:chats", user="pool", source="app", consent=True)
    rows = stored(store, batch)
    assert batch.without_consent == 2 and rows["nobody"]["user"] == pseudonym(KEY, "pool")
    assert (rows["rated"]["source"], rows["text"]["source"]) == ("web", "app")


@pytest.mark.parametrize(
    ("drop", "reason"),
    [
        ("mlflow:chat", "there is no such experiment"),
        ("mlflow:empty", "there is not one row"),
        ("mlflow:sqlite:////nowhere/mlflow.db#chats", "there is no database"),
        ("mlflow:http://bob:hunter2@127.0.0.1:9#chats", "does not answer"),
    ],
)
def test_a_store_that_cannot_be_read(
    store: Path, tmp_path: Path, drop: str, reason: str
) -> None:
    with pytest.raises(IngestError) as no:
        run(store, tmp_path, drop)
    assert reason in str(no.value) and "hunter2" not in str(no.value)
