"""Backtest: what a policy would have decided about every past update.

Nothing is trained or measured again. Each update is judged by itself, on the evidence that
its statement names: had an earlier one gone otherwise, later candidates would have continued
from another champion, and that nobody can know. So:

 * Rulings that no gate made (envelope, budget, proof, approval, training) stand as recorded.
 * A batch that was stopped before training and would not be any more has no candidate: its
   update "would have gone on to training", and is never called a promotion.
 * A suite that was not measured then is MISSING.
 * Where the policy would name other records, or compare with other models, the stored
   evidence is about something else: that update cannot be re-decided.
 * A waiver is bound to the policy that it was written for, and counts under no other.

With the very policy of the time every decision comes out as it did; otherwise the code that
judges has changed.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.looking_back.changed_policy import changed_policy
from tidegate.flows.looking_back.history import Entry, Lost, Past, Ruled, past_updates
from tidegate.flows.looking_back.redecide import evidence_is_of_another, redecide
from tidegate.flows.reviewing.wording import clean
from tidegate.flows.usage import UsageError
from tidegate.gates.decide import unsettled
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.policy.values import Duration
from tidegate.gates.types import Action, Noun, Outcome, Ruling

NOT_JUDGED = ("envelope", "approval", "budget", "proof")
DID = {Action.PROMOTE: "promoted", Action.HOLD: "held", Action.REJECT: "rejected"}
DOES = {Action.PROMOTE: "lets pass", Action.HOLD: "holds", Action.REJECT: "rejects"}
UNKNOWN = "would have gone on to training; not known beyond"


class Change(Noun):
    """One ruling that comes out otherwise; None where the gate is not asked."""

    gate: str
    was: Outcome | None
    was_action: Action | None
    now: Outcome | None
    now_action: Action | None
    reason: str


class Redecided(Noun):
    """One past update under the policy in question."""

    update_id: str
    version: str
    decided_at: str
    was: Action
    now: Action | None  # None: the batch would have gone on to training
    flips: bool
    says: str  # what it would have shipped or kept out, in words
    changes: tuple[Change, ...]
    missing: tuple[str, ...]  # gates that ask for what was not measured then
    notes: tuple[str, ...]


class NotRedecided(Noun):
    """A past update that the stored evidence cannot decide."""

    update_id: str
    version: str
    decided_at: str
    was: Action
    why: str


class Backtested(Noun):
    """Every past update of a model line under one policy, oldest first."""

    model: str
    policy: str
    digest: str
    changes: tuple[str, ...]  # as given with --set
    updates: tuple[Redecided, ...]
    undecided: tuple[NotRedecided, ...]
    not_judged: tuple[str, ...]  # sections that differ, and whose rulings stand as recorded

    @property
    def exit_code(self) -> int:
        """0 nothing flips, 1 something does, 4 some update cannot be re-decided."""
        if self.undecided:
            return 4
        return 1 if any(update.flips for update in self.updates) else 0


def backtest(
    policy_path: Path,
    *,
    home: Home,
    model: str,
    since: str | None = None,
    changes: Sequence[str] = (),
    floor: Path | None = None,
) -> Backtested:
    """Re-decide every past update of a model line under a policy, from stored evidence.

    since: only what was decided in this last while, as 90d or 12h. changes: what to try on the policy, as
    `model.not_worse(refusal.margin).than.champion=0.05`. floor: see flows/rules.py.
    Raises YamlError or UsageError for a policy or a change that cannot be used, UsageError
    if there is nothing to re-decide, and BrokenLedger.
    """
    policy = changed_policy(policy_path, changes, floor=floor)
    begin = None if since is None else _ago(since)
    updates: list[Redecided] = []
    undecided: list[NotRedecided] = []
    not_judged: set[str] = set()
    for past in past_updates(home, model, begin):
        why = past.why if isinstance(past, Lost) else evidence_is_of_another(past, policy)
        if isinstance(past, Lost) or why is not None:
            undecided.append(_not_redecided(past.entry, why or "unknown"))
            continue
        updates.append(_redecided(past, policy))
        not_judged |= {
            name for name in NOT_JUDGED if getattr(policy, name) != getattr(past.policy, name)
        }
    if not updates and not undecided:
        raise UsageError(_nothing(home, model, begin))
    return Backtested(
        model=model,
        policy=f"{policy.policy} v{policy.version}",
        digest=policy.digest,
        changes=tuple(changes),
        updates=tuple(updates),
        undecided=tuple(undecided),
        not_judged=tuple(name for name in NOT_JUDGED if name in not_judged),
    )


def _ago(text: str) -> datetime:
    try:
        seconds = TypeAdapter(Duration).validate_python(text)
        return datetime.now(UTC) - timedelta(seconds=seconds)
    except (ValidationError, OverflowError):
        raise UsageError(f"--since {text}: write a length of time, as 90d or 12h") from None


def _redecided(past: Past, policy: Policy) -> Redecided:
    decision, known = redecide(past, policy)
    entry, now = past.entry, decision.action if known else None
    missing = [r.title for r in decision.rulings if r.verdict.outcome is Outcome.MISSING]
    changes = _changes(entry.rulings, decision.rulings)
    return Redecided(
        update_id=entry.update_id,
        version=entry.version,
        decided_at=entry.decided_at.isoformat(),
        was=entry.action,
        now=now,
        flips=now is not entry.action,
        says=_in_words(entry, now),
        changes=changes,
        missing=tuple(missing),
        notes=tuple(_notes(past, policy, known and bool(changes))),
    )


def _notes(past: Past, policy: Policy, changed: bool) -> list[str]:
    notes = []
    same = policy.digest == past.policy.digest
    if same and changed:
        notes.append("The policy is the very one of then: the code that judges has changed.")
    waived = [ruling.gate for ruling in past.entry.rulings if ruling.waived]
    if waived and not same:
        notes.append(f"The waiver for {', '.join(waived)} does not count under this policy.")
    if not same and any(ruling.approved for ruling in past.entry.rulings):
        notes.append("What people approved then is not approved under this policy.")
    more = unsettled(policy, past.evidence_model) if past.evidence_model else ()
    if more:
        notes.append(f"More items of {', '.join(more)} would have been measured.")
    return notes


def _in_words(entry: Entry, now: Action | None) -> str:
    version, did = f"version {entry.version}", DID[entry.action]
    if now is entry.action:
        return f"{version} would be {did}, as it was"
    if now is None:
        return f"the batch of {version}, {did} before training, {UNKNOWN}"
    if entry.action is Action.PROMOTE:
        return f"{version}, which was promoted, would have been kept out: {DID[now]}"
    if now is Action.PROMOTE:
        return f"{version}, which was {did}, would have shipped"
    return f"{version} would have been {DID[now]} instead of {did}; it ships neither way"


def _changes(before: Sequence[Ruled], after: Sequence[Ruling]) -> tuple[Change, ...]:
    """Rulings that differ. A gate that is newly asked, or no more, and lets pass is none."""
    was = {ruling.gate: ruling for ruling in before}
    now = {ruling.title: ruling for ruling in after}
    found = []
    for title in dict.fromkeys([*now, *was]):
        old, new = was.get(title), now.get(title)
        said = (old.outcome, old.action) if old else (None, None)
        says = (new.verdict.outcome, new.action) if new else (None, None)
        if said != says and {said[1], says[1]} != {None, Action.PROMOTE}:
            change = Change(
                gate=title,
                was=said[0],
                was_action=said[1],
                now=says[0],
                now_action=says[1],
                reason=new.verdict.reason if new else "not asked any more",
            )
            found.append(change)
    return tuple(found)


def _not_redecided(entry: Entry, why: str) -> NotRedecided:
    return NotRedecided(
        update_id=entry.update_id,
        version=entry.version,
        decided_at=entry.decided_at.isoformat(),
        was=entry.action,
        why=why,
    )


def _nothing(home: Home, model: str, begin: datetime | None) -> str:
    known = Ledger(home.ledger).model_lines()
    if model not in known:
        names = ", ".join(sorted(known)) or "none yet"
        return f"{home.ledger}: there is no model line {model!r}; known: {names}"
    since = f" since {begin:%Y-%m-%d %H:%M} UTC" if begin else ""
    return f"{home.ledger}: no update of {model!r} was decided{since}: nothing to re-decide"


def show_backtested(console: Console, result: Backtested) -> None:
    """Every update in a row, then what comes out otherwise and why."""
    changed = f" with {', '.join(result.changes)}" if result.changes else ""
    _print(console, f"{result.policy}{changed} on {result.model}")
    console.print(_table(result))
    for update in result.updates:
        if update.flips or update.changes or update.notes:
            _print(console, f"\n{update.says[:1].upper()}{update.says[1:]}.")
        for change in update.changes:
            was, now = (
                _ruled(change.was, change.was_action),
                _ruled(change.now, change.now_action),
            )
            _print(console, f"{change.gate}: {was} → {now}", indent=2)
            _print(console, clean(change.reason), indent=4, style="dim")
        for note in update.notes:
            _print(console, note, indent=2)
    for lost in result.undecided:
        _print(console, f"\nVersion {lost.version} cannot be re-decided: {clean(lost.why)}")
    if result.not_judged:
        _print(
            console,
            f"\nThe policy's {', '.join(result.not_judged)} differs from what some updates met; "
            "rulings about it stand as they were recorded.",
        )
    flips = sum(update.flips for update in result.updates)
    _print(
        console,
        f"\n{len(result.updates)} re-decided, {flips} would flip, "
        f"{len(result.undecided)} cannot be re-decided",
    )


def _table(result: Backtested) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="dim")
    for column in ("decided", "version", "then", "now", "update"):
        table.add_column(column, overflow="fold")
    every: list[Redecided | NotRedecided] = [*result.updates, *result.undecided]
    for one in sorted(every, key=lambda u: u.decided_at):
        if isinstance(one, NotRedecided):
            now = "[magenta]cannot say[/]"
        else:
            word = "to training" if one.now is None else DID[one.now]
            now = f"[bold yellow]{word}[/]" if one.flips else f"[dim]{word}[/]"
        when = one.decided_at[:16].replace("T", " ")
        table.add_row(when, escape(one.version), DID[one.was], now, escape(one.update_id))
    return table


def _ruled(outcome: Outcome | None, action: Action | None) -> str:
    return "not asked" if outcome is None or action is None else f"{outcome} ({DOES[action]})"


def _print(console: Console, text: str, *, indent: int = 0, style: str = "") -> None:
    console.print(Padding(Text(text, style=style), (0, 0, 0, indent)), highlight=False)
