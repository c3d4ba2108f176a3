"""MLflow traces with what people said of them.

| of a record | in MLflow |
| --- | --- |
| `id` | tag or metadata `record_id`, else the trace id |
| `time` | when the trace ended |
| `user` | metadata `mlflow.trace.user`, else the caller's default |
| `source` | tag or metadata `source`, else the caller's default, else `mlflow` |
| `consent` | tag or metadata `consent`: `true`; anything else is no consent |
| `messages` | the root span's inputs and outputs, in OpenAI's chat form |
| `model`, `language` | tag or metadata of that name; the model else from the outputs |
| `feedback` | the newest assessment by a human of each name below |
| `signature` | tag or metadata of that name |
| `tags` | the other tags, without MLflow's own |

Only assessments by humans count: what a model judged is not what a user said.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tidegate.flows.connection import RegistryError, asking, connect, shown
from tidegate.flows.intake.connectors.chat import messages_of
from tidegate.flows.intake.connectors.rows import IngestError, Row, Unreadable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Assessment, Trace, TraceInfo

AT_A_TIME = 100  # traces; all their spans come with them
RATING = ("user_feedback", "thumbs", "thumbs_up", "rating")
CORRECTION = ("correction", "expected_response")
RATINGS: dict[Any, str] = {True: "up", False: "down", "up": "up", "down": "down"}
OWN_TAGS = ("consent", "source", "model", "language", "record_id", "signature")


def rows(uri: str, experiment: str, defaults: Mapping[str, Any]) -> Iterator[Row]:
    """Every trace of the experiment, oldest first, as a Record's JSON.

    Raises IngestError if MLflow does not answer or has no such experiment.
    """
    for line, (info, trace) in enumerate(_traces(uri, experiment), 1):
        try:
            yield Row(line, _record(info, trace, defaults))
        except Unreadable as no:
            yield Row(line, Unreadable(f"trace {info.trace_id}: {no.reason}"))


def _traces(uri: str, experiment: str) -> Iterator[tuple["TraceInfo", "Trace | None"]]:
    try:
        client = connect(uri)
        with asking(f"find the experiment {experiment!r}"):
            found = client.get_experiment_by_name(experiment)
        if found is None:
            raise IngestError(
                f"mlflow:{experiment}: there is no such experiment at {shown(uri)}; "
                "give its name as MLflow shows it, as in mlflow:TRACKING_URI#EXPERIMENT"
            )
        token, more = None, True
        while more:
            with asking(f"read the traces of {experiment!r}"):
                page, token = _page(client, found.experiment_id, token)
            yield from page
            more = bool(token)
    except RegistryError as no:
        raise IngestError(f"mlflow:{experiment}: {no}") from no


def _page(
    client: "MlflowClient", experiment_id: str, token: str | None
) -> tuple[list[tuple["TraceInfo", "Trace | None"]], str | None]:
    """One page of traces. None: MLflow lists the trace and cannot load its spans.

    Asked twice, because the search with spans leaves such traces out without a word.
    """
    where: dict[str, Any] = {
        "locations": [experiment_id],
        "max_results": AT_A_TIME,
        "order_by": ["timestamp_ms ASC"],
        "page_token": token,
    }
    listed = client.search_traces(**where, include_spans=False)
    loaded = {t.info.trace_id: t for t in client.search_traces(**where, include_spans=True)}
    return [(t.info, loaded.get(t.info.trace_id)) for t in listed], listed.token


def _record(
    info: "TraceInfo", trace: "Trace | None", defaults: Mapping[str, Any]
) -> dict[str, Any]:
    roots = [span for span in trace.data.spans if span.parent_id is None] if trace else []
    if len(roots) != 1:
        raise Unreadable(f"{len(roots)} root spans where one is needed")
    facts = {**info.trace_metadata, **info.tags}
    user = info.trace_metadata.get("mlflow.trace.user") or defaults.get("user")
    if not user:
        raise Unreadable("no user: neither mlflow.trace.user nor a default")
    asked, answered = _asked(roots[0].inputs), _answered(roots[0].outputs)
    model = facts.get("model")
    if model is None and isinstance(roots[0].outputs, Mapping):
        named = roots[0].outputs.get("model")
        model = named if isinstance(named, str) else None
    ended = (info.request_time + (info.execution_duration or 0)) / 1000
    return {
        "id": facts.get("record_id") or info.trace_id,
        "time": datetime.fromtimestamp(ended, UTC).isoformat(),
        "source": facts.get("source") or defaults.get("source") or "mlflow",
        "user": user,
        "consent": facts.get("consent", "").lower() == "true",
        "messages": messages_of([*asked, answered]),
        "feedback": _feedback(info.assessments),
        "model": model,
        "language": facts.get("language"),
        "signature": facts.get("signature"),
        "tags": {
            key: value
            for key, value in info.tags.items()
            if key not in OWN_TAGS and not key.startswith("mlflow.")
        },
    }


def _asked(inputs: Any) -> list[Any]:
    messages = inputs.get("messages") if isinstance(inputs, Mapping) else inputs
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    if not isinstance(messages, list):
        raise Unreadable("the root span's inputs hold no messages in OpenAI's chat form")
    return messages


def _answered(outputs: Any) -> Any:
    """The answer: a completion's first choice, the last of `messages`, a message, or text."""
    found = outputs
    if isinstance(outputs, Mapping):
        choices, messages = outputs.get("choices"), outputs.get("messages")
        if isinstance(choices, list) and choices and isinstance(choices[0], Mapping):
            found = choices[0].get("message")
        elif isinstance(messages, list) and messages:
            found = messages[-1]
    if isinstance(found, str):
        return {"role": "assistant", "content": found}
    if not isinstance(found, Mapping) or "role" not in found:
        raise Unreadable("the root span's outputs hold no answer in OpenAI's chat form")
    return dict(found)


def _feedback(assessments: list["Assessment"]) -> dict[str, str | None]:
    said = [a for a in assessments if a.source.source_type == "HUMAN" and a.valid is not False]
    said.sort(key=lambda a: (a.last_update_time_ms or 0, a.assessment_id or ""))
    feedback: dict[str, str | None] = {"rating": None, "correction": None, "comment": None}
    for assessment in said:  # a newer one replaces an older one
        value = _value(assessment)
        if assessment.name in RATING and isinstance(value, bool | str) and value in RATINGS:
            feedback["rating"] = RATINGS[value]
            feedback["comment"] = assessment.rationale
        elif assessment.name in CORRECTION and isinstance(value, str):
            feedback["correction"] = value
    return feedback


def _value(assessment: "Assessment") -> Any:
    for held in (assessment.feedback, assessment.expectation):
        if held is not None:
            return held.value
    return None
