"""Spans of an update for an OpenTelemetry collector (extra `tracing`), if one is named.

    OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318 tidegate update drops

Off unless $OTEL_EXPORTER_OTLP_ENDPOINT (or …_TRACES_ENDPOINT) is set: nothing is imported then.
The tracer is our own, not the process's: what Prefect or other packages would say is not sent.
A span says numbers, digests, and words of our own (names of gates, outcomes); whatever is not of
that form is withheld, so that no text, name or path of a drop can get into it. Of an error it
has the class and never the message. A collector that does not answer costs GRACE at most, once.
"""

import functools
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from tidegate.gates.types import Decision, Progress, Report

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
GRACE = 2.0  # seconds that the end of an update waits for a collector
# A digest, an update's id, or words of the product.
SAYABLE = re.compile(r"(sha256:[0-9a-f]{64}|u-[0-9a-f]{1,64}|[a-z][a-z_]{0,39})")
STAGE = re.compile(r"(?:measure|probe) [a-z_]{1,40} of the (?:anchor|champion|candidate)")
WITHHELD = "withheld"
P = ParamSpec("P")
R = TypeVar("R")
Facts = Mapping[str, str | int | float | None]
Say = Callable[[Facts], None]


def enabled() -> bool:
    """Whether a collector is named, and nobody switched the SDK off."""
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return not off and any(os.environ.get(name) for name in ENDPOINTS)


@contextmanager
def span(name: str) -> Iterator[Say]:
    """A span below the current one; gives what adds facts to it. Nothing if there is no collector."""
    if not enabled():
        yield lambda facts: None
        return
    from opentelemetry.trace import StatusCode

    with _tracer().start_as_current_span(
        name, record_exception=False, set_status_on_exception=False
    ) as made:

        def say(facts: Facts) -> None:
            for key, value in facts.items():
                if value is not None:
                    made.set_attribute(f"tidegate.{key}", sayable(value))

        try:
            yield say
        except BaseException as no:
            made.set_attribute("error.type", type(no).__name__)
            made.set_status(StatusCode.ERROR)
            raise


def traced(
    name: str, facts: Callable[[Any], Facts] = lambda _: {}, *, whole: bool = False
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A function as one span, with facts about what it returns.

    whole: the outermost one, at whose end everything is sent.
    """

    def wrap(act: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(act)
        def observed(*given: P.args, **named: P.kwargs) -> R:
            try:
                with span(name) as say:
                    done = act(*given, **named)
                    say(facts(done))
                    return done
            finally:
                if whole:
                    flush()

        return observed

    return wrap


@contextmanager
def each_stage(report: Report) -> Iterator[Report]:
    """The same report; each suite or probe that it names becomes a span until the next one."""
    if not enabled():
        yield report
        return
    opened: list[tuple[str, Any]] = []

    def close() -> None:
        while opened:
            opened.pop()[1].end()

    def watched(now: Progress) -> None:
        if not opened or opened[-1][0] != now.stage:
            close()
            known = STAGE.match(now.stage)
            name = known.group() if known else WITHHELD
            opened.append((now.stage, _tracer().start_span(name)))
        opened[-1][1].set_attribute(f"tidegate.{sayable(now.unit or 'done')}", now.done)
        report(now)

    try:
        yield watched
    finally:
        close()


def rulings(decision: Decision) -> None:
    """One event for each ruling of a decision, on the current span."""
    if not enabled():
        return
    from opentelemetry.trace import get_current_span

    for ruling in decision.rulings:
        said: Facts = {
            "gate": ruling.gate,
            "outcome": ruling.verdict.outcome,
            "action": ruling.action,
            "observed": ruling.verdict.observed,
            "limit": ruling.verdict.limit,
        }
        facts = {f"tidegate.{k}": sayable(v) for k, v in said.items() if v is not None}
        get_current_span().add_event("ruling", facts)


def sayable(value: str | float) -> str | int | float:
    """The value, if it can hold nobody's text."""
    if isinstance(value, str):
        return str(value) if SAYABLE.fullmatch(value) else WITHHELD
    return value


def flush() -> None:
    """Send what is left, for GRACE at most; a collector that is away is one line on stderr."""
    if not enabled():
        return
    sending = threading.Thread(target=_provider().force_flush, daemon=True)
    sending.start()
    sending.join(GRACE)
    if sending.is_alive():
        logging.getLogger(__name__).warning(
            "traces were not sent within %s s; see whether the collector in %s answers",
            GRACE,
            ENDPOINTS[0],
        )


def _tracer() -> "Tracer":
    return _provider().get_tracer("tidegate")


@functools.cache
def _provider() -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    # The exporter would print a traceback for each try.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    name = os.environ.get("OTEL_SERVICE_NAME", "tidegate")
    made = TracerProvider(
        resource=Resource.create({"service.name": name}), shutdown_on_exit=False
    )
    made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return made
