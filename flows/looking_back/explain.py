"""Explain: every ruling about one version, for a reviewer who reads no code.

Outcomes and actions are those of the statement. The numbers behind them are computed again
from the evidence that the statement names, under the policy that it names; where they would
not come out as recorded, the recorded sentence stands alone, and it says so.
"""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tidegate.flows.home import Home
from tidegate.flows.looking_back import in_words
from tidegate.flows.looking_back.history import Entry, Lost, Past, Ruled, entry_of, read_past
from tidegate.flows.reviewing.wording import OUTCOME, clean, short
from tidegate.flows.show import statement_of
from tidegate.flows.usage import UsageError
from tidegate.gates.decide import judge
from tidegate.gates.policy.nouns import GateUse
from tidegate.gates.types import Action, Noun, Outcome, Verdict

DID = {
    Action.PROMOTE: "promoted",
    Action.HOLD: "held for a person",
    Action.REJECT: "rejected",
}
AGAIN = "This version of tidegate judges otherwise, so the numbers behind it are not shown."


class ExplainedRuling(Noun):
    """One ruling in words. Empty where there is nothing to say."""

    gate: str
    outcome: Outcome
    action: Action
    decided: bool  # without it, or others like it, the update would have gone further
    asks: str
    why: str
    seen: tuple[str, ...]
    means: str
    visible: tuple[str, ...]  # the smallest change that the suite could have seen
    otherwise: str  # what would have had to be different
    waived: str  # digest of the waiver that counted


class Explained(Noun):
    """What was decided about one version, and why, ruling by ruling."""

    model: str
    version: str
    statement: str
    decided_at: str
    action: Action
    policy: str  # its name and version; empty where no policy decided
    says: str
    rulings: tuple[ExplainedRuling, ...]
    broken: str  # why the evidence cannot be used any more

    @property
    def exit_code(self) -> int:
        """4 where the evidence behind the statement cannot be used any more."""
        return 4 if self.broken else 0


def explain(model: str, version: str, home: Home, tracking_uri: str | None = None) -> Explained:
    """Every ruling about a version, or about what an alias points at.

    Raises RegistryError if there is no such version or it has no statement, BrokenLedger,
    and UsageError if the statement is about another version.
    """
    digest, record = statement_of(model, version, home, tracking_uri)
    predicate = record["predicate"]
    about = predicate["about"]
    if predicate["model"] != model or (
        version.isdecimal() and str(about.get("version", version)) != version
    ):
        raise UsageError(
            f"version {version} of {model!r} points at a statement about another version "
            f"({digest}); its tag gov.statement was changed"
        )
    if predicate["act"] != "decide":
        return Explained(
            model=model,
            version=str(about.get("version", version)),
            statement=digest,
            decided_at=predicate["decidedAt"],
            action=Action(about["action"]),
            policy="",
            says=f"no gate was asked: {about['reason']}",
            rulings=(),
            broken="",
        )
    entry = entry_of(digest, record)
    found = read_past(home, entry)
    return Explained(
        model=model,
        version=entry.version,
        statement=digest,
        decided_at=entry.decided_at.isoformat(),
        action=entry.action,
        policy=f"{about['policy']['name']} v{about['policy']['version']}",
        says=_says(entry, found),
        rulings=_explained(entry, found),
        broken=found.why if isinstance(found, Lost) else "",
    )


def _says(entry: Entry, found: Past | Lost) -> str:
    deciding = [r.gate for r in entry.rulings if _decided(r, entry)]
    if entry.action is Action.PROMOTE:
        said = f"none of its {len(entry.rulings)} rulings stood in the way"
    elif len(deciding) == 1:
        said = f"{deciding[0]} decided"
    else:
        said = f"{', '.join(deciding)} decided, each by itself"
    if isinstance(found, Past) and found.evidence_model is None:
        said += "; nothing was measured, so the model gates were never asked"
    return said


def _decided(ruled: Ruled, entry: Entry) -> bool:
    return ruled.action is entry.action and ruled.action is not Action.PROMOTE


def _explained(entry: Entry, found: Past | Lost) -> tuple[ExplainedRuling, ...]:
    if isinstance(found, Lost):
        return tuple(_recorded(ruled, entry) for ruled in entry.rulings)
    uses = {use.title: use for use in (*found.policy.data, *found.policy.model)}
    judged = {
        ruling.title: ruling.verdict
        for evidence in (found.evidence_data, found.evidence_model)
        if evidence is not None
        for ruling in judge(found.policy, evidence)
    }
    said = []
    for ruled in entry.rulings:
        use, verdict = uses.get(ruled.gate), judged.get(ruled.gate)
        if use is None:
            said.append(_recorded(ruled, entry))
        elif verdict is None or not _is_as_recorded(verdict, ruled):
            asks = {"asks": in_words.asked(use), "why": use.why}
            seen = {"seen": (ruled.reason, AGAIN)}
            said.append(_recorded(ruled, entry).model_copy(update={**asks, **seen}))
        else:
            said.append(_in_full(ruled, entry, use, verdict, found))
    return tuple(said)


def _in_full(
    ruled: Ruled, entry: Entry, use: GateUse, verdict: Verdict, past: Past
) -> ExplainedRuling:
    policy, measured = past.policy, past.evidence_model
    return _recorded(ruled, entry).model_copy(
        update={
            "asks": in_words.asked(use),
            "why": use.why,
            "seen": in_words.seen(use, verdict, policy),
            "means": in_words.meaning(use, verdict, ruled.action, policy),
            "visible": in_words.visible(use, verdict, measured, policy) if measured else (),
            "otherwise": in_words.otherwise(use, verdict, policy) or "",
        }
    )


def _recorded(ruled: Ruled, entry: Entry) -> ExplainedRuling:
    """What the statement alone says of a ruling."""
    return ExplainedRuling(
        gate=ruled.gate,
        outcome=ruled.outcome,
        action=ruled.action,
        decided=_decided(ruled, entry),
        asks="",
        why="",
        seen=(ruled.reason,),
        means=in_words.EFFECT[ruled.action],
        visible=(),
        otherwise="",
        waived=ruled.waived or "",
    )


def _is_as_recorded(verdict: Verdict, ruled: Ruled) -> bool:
    return (verdict.outcome, _text(verdict.observed), _text(verdict.limit)) == (
        ruled.outcome,
        ruled.observed,
        ruled.limit,
    )


def _text(number: float | None) -> str | None:
    return None if number is None else repr(number)


def show_explained(console: Console, result: Explained) -> None:
    """The decision, then every ruling; what stood in the way comes first."""
    policy = f" under the policy {result.policy}" if result.policy else ""
    console.print(
        f"[bold]{escape(result.model)} version {escape(result.version)} was "
        f"{DID[result.action]}[/] on {result.decided_at[:10]}{escape(policy)}:\n"
        f"{escape(clean(result.says))}.",
        highlight=False,
    )
    if result.broken:
        console.print(
            f"[magenta]The evidence cannot be used any more:[/] {escape(clean(result.broken))}. "
            "What follows is what the statement alone says.",
            highlight=False,
        )
    for ruling in sorted(result.rulings, key=lambda r: (not r.decided, _passed(r))):
        decided = ": this decided" if ruling.decided else ""
        console.print(
            f"\n[bold]{OUTCOME[ruling.outcome]}  {escape(ruling.gate)}[/]{decided}",
            highlight=False,
        )
        console.print(_block(ruling))
    console.print(f"\nstatement {short(result.statement, 64)}", highlight=False)


def _passed(ruling: ExplainedRuling) -> bool:
    return ruling.outcome is Outcome.PASS


def _block(ruling: ExplainedRuling) -> Table:
    block = Table.grid(padding=(0, 2))
    block.add_column(style="dim", width=14)
    block.add_column(overflow="fold")
    waived = f"a signed waiver counted: {short(ruling.waived)}" if ruling.waived else ""
    lines = [
        ("asks", ruling.asks),
        ("because", ruling.why),
        *(("seen", text) for text in ruling.seen),
        ("means", ruling.means),
        *(("could be seen", text) for text in ruling.visible),
        ("to pass", ruling.otherwise),
        ("waiver", waived),
    ]
    before = ""
    for label, text in lines:
        if text:
            block.add_row("" if label == before else label, escape(clean(text)))
            before = label
    return block
