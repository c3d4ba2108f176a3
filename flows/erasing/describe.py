"""What a reviewer reads first in MLflow about a version that an erasure deleted or rebuilt."""

from tidegate.flows.erasing.plan import Weights
from tidegate.flows.erasing.state import Rebuilt, State, Told
from tidegate.flows.registry import Registry
from tidegate.flows.reviewing.page import LONGEST, escaped
from tidegate.gates.types import Outcome

ERASED, REBUILT = "**Erased.** ", "**Rebuilt after an erasure.** "
REBUILDS_TAG = "gov.rebuilds"


def describe(registry: Registry, state: State) -> None:
    """Put one paragraph before the review pages. Run again, it takes the place of its own."""
    for one in state.plan.weights:
        now = next((r.version for r in state.rebuilt if _is_of(r, one)), None)
        instead = f" Version {now} repeats its update without the rows." if now else ""
        page = registry.find(one.model, one.version).description or ""
        if page.startswith(ERASED) and not now:
            continue  # an earlier round said it
        text = f"{ERASED}The weights were deleted; this version cannot serve again.{instead}"
        _put_first(registry, one.model, one.version, text, {})
    for rebuilt in state.rebuilt:
        if rebuilt.version is not None:
            text = (
                f"{REBUILT}It repeats the update of version {rebuilt.of} without erased rows."
            )
            told = [t for t in state.told if (t.model, t.version) == _name(rebuilt)]
            text = " ".join([text, *map(_said, told)])
            tags = {REBUILDS_TAG: rebuilt.of}
            _put_first(registry, rebuilt.model, rebuilt.version, text, tags)


def _is_of(rebuilt: Rebuilt, one: Weights) -> bool:
    return (rebuilt.model, rebuilt.of) == (one.model, one.version)


def _name(rebuilt: Rebuilt) -> tuple[str, str | None]:
    return rebuilt.model, rebuilt.version


def _said(told: Told) -> str:
    can = {Outcome.PASS: "cannot be", Outcome.FAIL: "CAN BE"}.get(told.outcome)
    if can is None:
        return f"Whether it can be told from a never-trained twin: {escaped(told.reason)}."
    return (
        f"It {can} told from a never-trained twin by {told.rows} of {told.learned} rows "
        f"({escaped(told.reason)}); the erased version {told.erased}: {told.control}."
    )


def _put_first(
    registry: Registry, model: str, version: str, text: str, tags: dict[str, str]
) -> None:
    page: str = registry.find(model, version).description or ""
    if page.startswith((ERASED, REBUILT)):
        page = page.partition("\n\n")[2]
    whole = f"{text}\n\n{page}"
    if len(whole) > LONGEST:
        whole = whole[: LONGEST - 1] + "…"
    registry.annotate(model, version, tags, whole)
