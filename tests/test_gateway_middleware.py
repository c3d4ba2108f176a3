"""The middleware on a real FastAPI app: whole and streamed completions, and what is let be."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.middleware.gzip import GZipMiddleware
from starlette.testclient import TestClient

from tidegate.flows.gateway import middleware
from tidegate.flows.gateway.middleware import SignedResponses
from tidegate.flows.gateway.sign import SigningKey
from tidegate.gates.signals.signatures import Response, is_valid

KEY = SigningKey(bytes(range(32)))
ASKED = [{"role": "user", "content": "Wann öffnet ihr? 🙂"}]
WORDS = ["Um ", "zehn", ", wie ", "immer. ✓"]
ANSWER = "".join(WORDS)
URL = "/v1/chat/completions"


def completion(**choice: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": ANSWER}
    made = {"index": 0, "message": message, "finish_reason": "stop", **choice}
    return {"id": "chatcmpl-1", "model": "m@4", "object": "chat.completion", "choices": [made]}


def delta(text: str | None = None, finish: str | None = None, **more: Any) -> str:
    said = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": said, "finish_reason": finish, **more}
    chunk = {"id": "chatcmpl-1", "model": "m@4", "choices": [choice]}
    return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"


STREAM = [
    ": ping\n\n",
    *(delta(word) for word in WORDS),
    delta(finish="stop"),
    'data: {"id": "chatcmpl-1", "choices": [], "usage": {"total_tokens": 9}}\n\n',
    "data: [DONE]\n\n",
]


def gateway(answer: Any, **how: Any) -> TestClient:
    app = FastAPI()

    @app.post(URL)
    async def chat(request: Request) -> Any:
        assert (await request.json())["messages"]
        return answer() if callable(answer) else answer

    app.add_middleware(SignedResponses, key=KEY, **how)
    return TestClient(app)


def streamed(text: str, cut: int, **how: Any) -> TestClient:
    async def pieces() -> AsyncIterator[bytes]:
        data = text.encode()
        for start in range(0, len(data), cut):
            yield data[start : start + cut]

    return gateway(lambda: StreamingResponse(pieces(), media_type="text/event-stream"), **how)


def verified(signature: str, model: str = "m@4", asked: Any = ASKED) -> bool:
    response = Response("chatcmpl-1", asked, ANSWER, model)
    return is_valid(signature, response, {KEY.keyid: KEY.public})


def test_a_completion_is_signed_in_body_and_header() -> None:
    got = gateway(completion()).post(URL, json={"messages": ASKED})
    document = got.json()
    assert verified(document["signature"])
    assert got.headers["tidegate-signature"] == document["signature"]
    assert int(got.headers["content-length"]) == len(got.content)
    assert {**document, "signature": None} == {**completion(), "signature": None}


def test_the_version_that_serves_is_the_operators_word() -> None:
    got = gateway(completion(), model="support@7").post(URL, json={"messages": ASKED})
    assert verified(got.json()["signature"], model="support@7")
    assert not verified(got.json()["signature"])


@pytest.mark.parametrize("cut", [1, 7, 64, 100_000])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_stream_is_signed_in_its_last_chunk_of_text(cut: int, ends: str) -> None:
    text = "".join(STREAM).replace("\n", ends)
    got = streamed(text, cut).post(URL, json={"messages": ASKED, "stream": True})
    events = [line[6:] for line in got.text.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    signatures = [chunk["signature"] for chunk in chunks if "signature" in chunk]
    assert len(signatures) == 1 and verified(signatures[0])
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop" and "signature" in chunks[-2]
    before = text[: text.index(delta(finish="stop").replace("\n", ends))]
    assert got.text.startswith(before), "everything before it passes byte for byte"


def test_a_stream_is_not_held_back() -> None:
    """Each event leaves before the next one is made."""
    sent: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        headers = [(b"content-type", b"text/event-stream"), (b"content-length", b"9")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for n, event in enumerate(STREAM):
            more = n + 1 < len(STREAM)
            await send(
                {"type": "http.response.body", "body": event.encode(), "more_body": more}
            )
            assert b"".join(sent).count(b"\n\n") == n + 1

    async def receive() -> Any:
        return {"type": "http.request", "body": json.dumps({"messages": ASKED}).encode()}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            assert b"content-length" not in dict(message["headers"])
        sent.append(message.get("body", b""))

    import asyncio

    scope = {"type": "http", "method": "POST", "path": URL}
    asyncio.run(SignedResponses(app, KEY)(scope, receive, send))
    assert b"signature" in b"".join(sent)


TOOL = {"role": "assistant", "content": None, "tool_calls": [{"id": "x"}]}
TWO = {**completion(), "choices": completion()["choices"] * 2}


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (completion(message=TOOL), "not text"),
        (TWO, "one choice"),
        ({**completion(), "id": None}, "id and model"),
        ([1], "no JSON object"),
        (lambda: PlainTextResponse("hello"), "neither JSON nor"),
        (
            lambda: JSONResponse(completion(), headers={"content-encoding": "x-own"}),
            "compressed",
        ),
    ],
)
def test_what_cannot_be_signed_passes_and_is_logged(
    answer: Any, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    got = gateway(answer).post(URL, json={"messages": ASKED})
    assert got.status_code == 200 and "signature" not in got.text
    assert "tidegate-signature" not in got.headers
    assert why in caplog.text
    assert "öffnet" not in caplog.text and "zehn" not in caplog.text


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([delta("Um "), delta("zehn")], "without finish_reason"),
        ([delta("Um "), delta("zehn", index=1), delta(finish="stop")], "several choices"),
        (["data: {broken\n\n", *STREAM], "no JSON object"),
        ([delta("a" * 200), *STREAM], "longer than"),
    ],
)
def test_a_stream_that_cannot_be_signed_passes_and_is_logged(
    events: list[str],
    why: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if why == "longer than":
        monkeypatch.setattr(middleware, "MOST_BYTES", 250)
    text = "".join(events)
    got = streamed(text, 50).post(URL, json={"messages": ASKED})
    assert got.text == text
    assert why in caplog.text and "zehn" not in caplog.text


def test_a_long_answer_passes_unsigned(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "MOST_BYTES", 100)

    def slowly() -> Iterator[bytes]:
        data = json.dumps(completion()).encode()
        yield from (data[start : start + 30] for start in range(0, len(data), 30))

    client = gateway(lambda: StreamingResponse(slowly(), media_type="application/json"))
    got = client.post(URL, json={"messages": ASKED})
    assert got.json() == completion() and "longer than" in caplog.text


def test_other_requests_and_failures_are_let_be(caplog: pytest.LogCaptureFixture) -> None:
    refused = gateway(lambda: JSONResponse({"error": "busy"}, status_code=429))
    assert refused.post(URL, json={"messages": ASKED}).json() == {"error": "busy"}
    assert refused.get("/v1/models").status_code == 404
    assert not [r for r in caplog.records if r.name == middleware.__name__]


def test_compressed_outside_of_it_a_response_is_signed() -> None:
    client = gateway(completion())
    client.app.add_middleware(GZipMiddleware, minimum_size=1)  # type: ignore[attr-defined]
    got = client.post(URL, json={"messages": ASKED})
    assert got.headers["content-encoding"] == "gzip"
    assert verified(got.json()["signature"])
