"""How decisions and numbers are put into words, the same in every report.

Names and reasons can hold text from outside, such as the id of a record or the message of
an exception. `clean` makes them safe to read; escaping is up to whoever prints them.
"""

from tidegate.gates.types import Action, Decision, Outcome

LONGEST = 600  # characters of a text from outside
HEADLINE = {Action.PROMOTE: "Promoted", Action.HOLD: "Held", Action.REJECT: "Rejected"}
# A sign besides the word, so that colour is never needed.
OUTCOME = {
    Outcome.PASS: "✓ pass",
    Outcome.FAIL: "✗ fail",
    Outcome.INCONCLUSIVE: "~ inconclusive",
    Outcome.MISSING: "∅ missing",
    Outcome.ERROR: "! error",
}


def because(decision: Decision) -> str:
    """What led to the decision: the first gate in its way, or that there was none."""
    against = [r for r in decision.rulings if r.action is not Action.PROMOTE]
    if not against:
        count = len(decision.rulings)
        return f"All {count} gates passed." if count > 1 else "Its one gate passed."
    first = next(r for r in against if r.action is decision.action)
    others = len(against) - 1
    more = f" ({others} more in its way)" if others else ""
    return f"{first.title}: {first.verdict.reason.rstrip('.')}{more}."


def clean(text: str, limit: int = LONGEST) -> str:
    """On one line, cut to `limit`; what does not print, also what turns text around, is �."""
    shown = printable(" ".join(text.split()))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def printable(line: str) -> str:
    """One line as it is, with � for what does not print, also what turns text around."""
    return "".join(c if c.isprintable() else "�" for c in line.expandtabs(4))


def number(value: float | None) -> str:
    """Four digits, a real minus sign; a dash for none."""
    return "–" if value is None else f"{value:.4g}".replace("-", "−")


def change(value: float | None) -> str:
    """Signed, three decimals: what the gates' sentences use."""
    return "–" if value is None else f"{value:+.3f}".replace("-", "−")


def level(value: float | None) -> str:
    """Three decimals without a plus sign: a value, not a change."""
    return change(value).removeprefix("+")


def amount(value: int) -> str:
    return f"{value:,}"


def short(digest: str, keep: int = 12) -> str:
    """The start of a digest, enough to tell two apart by eye."""
    return digest.removeprefix("sha256:")[:keep]


def how_to_decide(model: str, version: str) -> tuple[str, str]:
    """The two commands that a reviewer of a held version chooses from; to be escaped or quoted."""
    asked = f"{clean(version, 20)} --model {clean(model, 60)} --key KEY.pem --reason …"
    return f"tidegate approve {asked}", f"tidegate refuse {asked}"
