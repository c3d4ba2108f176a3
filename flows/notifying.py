"""Telling people what waits for them: an update that is held or rejected, a registry that differs.

Where to is a list of Apprise URLs in $TIDEGATE_NOTIFY, separated by spaces; none, and nobody is
told. A URL may hold a password, so it is never logged. A message holds what a ruling says, which
is no text of users. What was told is noted in `notices/` of the home: run again, or killed in
between, each thing is told at least once, and again only if telling failed.
"""

import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from tidegate.flows.durable import replace
from tidegate.flows.home import Home
from tidegate.flows.one_update import UpdateResult
from tidegate.flows.reconciling.finding import Finding
from tidegate.gates.types import Action

VARIABLE = "TIDEGATE_NOTIFY"
MOST = 5  # gates or findings that a message names

log = logging.getLogger(__name__)


def tell_decided(home: Home, result: UpdateResult) -> bool:
    """Tell that an update was held or rejected; True if it was told, now or earlier."""
    decision = result.decision
    if decision.action is Action.PROMOTE:
        return False
    stopped = [r for r in decision.rulings if r.action is not Action.PROMOTE]
    lines = [f"- {ruling.title}: {ruling.verdict.reason}" for ruling in stopped]
    name = f"--model {result.model}"
    what = "held" if decision.action is Action.HOLD else "rejected"
    asks = [f"Look: tidegate show {result.version} {name}"]
    if decision.action is Action.HOLD:
        asks.append(f"Decide: tidegate approve {result.version} {name} (or refuse)")
    return _tell(
        home,
        f"decided-{result.statement.removeprefix('sha256:')[:32]}",
        f"{result.model} version {result.version} was {what}",
        [*_first(lines), *asks],
    )


def tell_findings(home: Home, findings: Sequence[Finding]) -> bool:
    """Tell that the registry is not what the ledger says; the same findings are told once.

    No findings: what was found earlier is forgotten, so that it is told if it comes back.
    """
    if not findings:
        for path in _folder(home).glob("found-*"):
            path.unlink(missing_ok=True)
        return False
    lines = [f"- {f.model} {f.version}: {f.what}" for f in findings]
    key = hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:32]
    title = f"the registry differs from the ledger in {len(findings)} places"
    return _tell(home, f"found-{key}", title, [*_first(lines), "Look: tidegate reconcile"])


def _tell(home: Home, key: str, title: str, lines: Sequence[str]) -> bool:
    told = _folder(home) / key
    urls = os.environ.get(VARIABLE, "").split()
    if not urls or told.exists():
        return bool(urls)
    from apprise import Apprise, NotifyFormat

    service = Apprise()
    if not all(service.add(url) for url in urls):
        log.warning("%s holds a URL that Apprise cannot read; nobody was told", VARIABLE)
        return False
    if not service.notify(
        "\n".join(lines), title=f"tidegate: {title}", body_format=NotifyFormat.TEXT
    ):
        log.warning("a notification was not delivered; it is tried again on the next run")
        return False
    told.parent.mkdir(parents=True, exist_ok=True)
    replace(told, b"")
    return True


def _first(lines: Sequence[str]) -> list[str]:
    more = [f"… and {len(lines) - MOST} more"] if len(lines) > MOST else []
    return [*lines[:MOST], *more]


def _folder(home: Home) -> Path:
    return home.root / "notices"
