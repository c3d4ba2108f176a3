"""ASGI middleware that signs what a gateway answers, for FastAPI, Starlette and their like.

    app.add_middleware(SignedResponses, key=SigningKey.load("gateway.key"), model="support@4")

It looks at POST requests whose path ends in /chat/completions. A JSON completion gets the
field `signature` and the header `tidegate-signature`; a streamed one (server-sent events)
gets the field in the chunk that carries `finish_reason`, so nothing is held back. The record
of it has the completion's `id`, the request's messages, the answer, the model and `signature`.

Add it last, outside of everything that changes a text: what is signed is what leaves. What
cannot be signed passes as it is and is logged: an answer that is not text, or comes
compressed, several choices, a stream that breaks off. Such a record is unsigned, no more.

Source: ASGI 3.0; OpenAI's API reference, "Chat completions" and "Streaming".
"""

import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from tidegate.flows.gateway.sign import CannotSign, SigningKey, sign_response

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

HEADER = b"tidegate-signature"
PATH = "/chat/completions"
MOST_BYTES = 4 << 20  # of a request and of a response; ingest reads no longer record
log = logging.getLogger(__name__)


class SignedResponses:
    """Signs the chat completions of an ASGI app."""

    def __init__(self, app: App, key: SigningKey, model: str | None = None) -> None:
        """`model`: the version that serves; the completion's own `model` if none is given."""
        self.app, self.key, self.model = app, key, model

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        asked = scope["type"] == "http" and scope["method"] == "POST"
        if not asked or not scope["path"].endswith(PATH):
            return await self.app(scope, receive, send)
        request = _Request(receive)
        exchange = _Exchange(self.key, self.model, request, send)
        await self.app(scope, request.receive, exchange.send)
        if isinstance(exchange.response, _Stream) and not exchange.response.settled:
            log.warning("response not signed: the stream ended without finish_reason")


class _Request:
    """Keeps the body while the app reads it."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._body = receive, bytearray()

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and len(self._body) <= MOST_BYTES:
            self._body += message.get("body", b"")
        return message

    def messages(self) -> list[Any]:
        """What was asked. Raises CannotSign."""
        if len(self._body) > MOST_BYTES:
            raise CannotSign("the request is longer than 4 MB")
        try:
            found = json.loads(self._body)["messages"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise CannotSign("the request is no JSON object with messages") from None
        if not isinstance(found, list):
            raise CannotSign("the request's messages are no list")
        return found


@dataclass
class _Exchange:
    """One request and its response, on the way out."""

    key: SigningKey
    model: str | None
    request: _Request
    out: Send
    response: "_Whole | _Stream | None" = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.response = self._of(message)
        if self.response is None:
            await self.out(message)
        else:
            await self.response.send(message)

    def _of(self, start: Message) -> "_Whole | _Stream | None":
        headers = {bytes(k).lower(): bytes(v) for k, v in start.get("headers", ())}
        kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if start["status"] != 200:
            return None
        if headers.get(b"content-encoding", b"identity") != b"identity":
            log.warning("response not signed: it is compressed before this middleware")
        elif kind == b"application/json":
            return _Whole(self)
        elif kind == b"text/event-stream":
            return _Stream(self)
        else:
            log.warning("response not signed: neither JSON nor server-sent events")
        return None

    def signature(self, name: Any, model: Any, answer: Any) -> str:
        """Raises CannotSign."""
        version = self.model if self.model is not None else model
        if not isinstance(name, str) or not isinstance(version, str):
            raise CannotSign("the completion does not say its id and model as text")
        if not isinstance(answer, str):
            raise CannotSign("the answer is not text")
        return sign_response(
            self.key,
            record_id=name,
            messages=self.request.messages(),
            response=answer,
            model=version,
        )


class _Whole:
    """A JSON response, held back until it is whole."""

    def __init__(self, exchange: _Exchange) -> None:
        self._exchange, self._body = exchange, bytearray()
        self._start: Message = {}
        self._passing = False

    async def send(self, message: Message) -> None:
        out = self._exchange.out
        if self._passing or message["type"] not in (
            "http.response.start",
            "http.response.body",
        ):
            await out(message)
        elif message["type"] == "http.response.start":
            self._start = message
        else:
            self._body += message.get("body", b"")
            more = message.get("more_body", False)
            if more and len(self._body) <= MOST_BYTES:
                return
            self._passing = True
            await out(self._signed(whole=not more))
            await out({**message, "body": bytes(self._body)})

    def _signed(self, whole: bool) -> Message:
        """The start of the response; the body gets its signature on the way."""
        try:
            if not whole or len(self._body) > MOST_BYTES:
                raise CannotSign("it is longer than 4 MB")
            document = _object(self._body)
            choices = document.get("choices")
            if not isinstance(choices, list) or len(choices) != 1:
                raise CannotSign("it does not have one choice")
            signature = self._exchange.signature(
                document.get("id"), document.get("model"), _text(choices[0], "message")
            )
        except CannotSign as no:
            log.warning("response not signed: %s", no)
            return self._start
        body = json.dumps({**document, "signature": signature}).encode()
        self._body = bytearray(body)
        headers = [(k, v) for k, v in self._start["headers"] if k.lower() != b"content-length"]
        length = (b"content-length", str(len(body)).encode())
        return {**self._start, "headers": [*headers, length, (HEADER, signature.encode())]}


@dataclass
class _Stream:
    """Server-sent events, passed on one by one while the answer is put together."""

    exchange: _Exchange
    settled: bool = False  # signed, or said why not
    _rest: bytes = b""
    _answer: list[str] = field(default_factory=list)
    _size: int = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = message.get("headers", ())
            kept = [(k, v) for k, v in headers if k.lower() != b"content-length"]
            message = {**message, "headers": kept}
        elif message["type"] == "http.response.body" and not self.settled:
            message = {**message, "body": self._passed(message)}
        await self.exchange.out(message)

    def _passed(self, message: Message) -> bytes:
        """What may leave now: whole lines. After the last line of all, the rest."""
        self._rest += message.get("body", b"")
        self._size += len(message.get("body", b""))
        lines = self._rest.splitlines(keepends=True)
        # A line may yet go on, and after \r there may come its \n.
        open_ended = bool(lines) and not lines[-1].endswith(b"\n")
        self._rest = lines.pop() if open_ended else b""
        passed = b"".join(self._line(line) for line in lines)
        if self.settled or not message.get("more_body", False):
            passed, self._rest = passed + self._rest, b""
        return passed

    def _line(self, line: bytes) -> bytes:
        data = line.strip().removeprefix(b"data:").strip()
        if self.settled or not line.startswith(b"data:") or data == b"[DONE]":
            return line
        try:
            if self._size > MOST_BYTES:
                raise CannotSign("it is longer than 4 MB")
            chunk = _object(data)
            choices = chunk.get("choices")
            if choices == []:  # such as the chunk that counts the tokens
                return line
            if not isinstance(choices, list) or len(choices) != 1:
                raise CannotSign("it has several choices")
            text = _text(choices[0], "delta", absent="")
            if choices[0].get("index", 0) != 0:
                raise CannotSign("it has several choices")
            self._answer.append(text)
            if choices[0].get("finish_reason") is None:
                return line
            signature = self.exchange.signature(
                chunk.get("id"), chunk.get("model"), "".join(self._answer)
            )
        except CannotSign as no:
            log.warning("response not signed: %s", no)
            self.settled = True
            return line
        self.settled = True
        end = line[len(line.rstrip(b"\r\n")) :]
        whole = json.dumps({**chunk, "signature": signature})
        return b"data: " + whole.encode() + end


def _object(data: bytes | bytearray) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise CannotSign("it is no JSON object")
    return found


def _text(choice: Any, part: str, absent: str | None = None) -> str:
    """The text of a message or of a delta. Raises CannotSign."""
    said = choice.get(part) if isinstance(choice, dict) else None
    if not isinstance(said, dict):
        raise CannotSign("a choice has no message")
    if said.get("tool_calls") or said.get("function_call") or said.get("refusal"):
        raise CannotSign("the answer is not text alone")
    text = said.get("content")
    if text is None and absent is not None:
        return absent
    if not isinstance(text, str):
        raise CannotSign("the answer is not text")
    return text
