"""The change record: one update as Annex IV, point 2(f) of the AI Act asks to describe it.

2(f) asks, where applicable, for the changes that were determined beforehand, what they did to
the performance, and the technical solutions that keep the system within its requirements. The
record supports that part of a provider's documentation; it is not that documentation, and it
says so. It names who asked, who waived and when, so it is for the file and not for the public.
"""

from dataclasses import dataclass

from tidegate.flows.documents.account import Account
from tidegate.flows.documents.markdown import render
from tidegate.flows.reviewing.wording import amount, number
from tidegate.gates.policy.nouns import Envelope
from tidegate.gates.policy.values import Range

NOT_COUNTED = "not counted"


@dataclass(frozen=True)
class Bound:
    """One line of the envelope: what may be without a person, and what this update was."""

    what: str
    allowed: str
    was: str


def change_record(account: Account) -> str:
    """The change record as Markdown."""
    envelope = account.past.policy.envelope
    return render(
        "change.md.j2",
        account=account,
        policy=account.past.policy,
        bounds=_bounds(envelope, account) if envelope else (),
        judged=next((r for r in account.rulings if r.gate == "envelope"), None),
        settings=_settings(account),
        whys={
            use.title: use.why
            for use in (*account.past.policy.data, *account.past.policy.model)
        },
    )


def _bounds(envelope: Envelope, account: Account) -> tuple[Bound, ...]:
    recipe, kept = account.recipe, account.kept
    found = []
    if envelope.base is not None:
        found.append(Bound("base", envelope.base.digest, account.base.digest))
    if envelope.recipe.methods is not None:
        allowed = ", ".join(envelope.recipe.methods)
        found.append(Bound("method", allowed, str(recipe["method"])))
    if envelope.data.sources is not None:
        # Counted, not named: the name of a source comes from the drop.
        allowed = ", ".join(envelope.data.sources)
        found.append(
            Bound("sources", allowed, f"{len(account.past.batch.sources)} (only counted here)")
        )
    numbers: tuple[tuple[str, Range | None, float | None], ...] = (
        ("rank", envelope.recipe.rank, recipe.get("rank")),
        ("alpha", envelope.recipe.alpha, recipe.get("alpha")),
        ("learning rate", envelope.recipe.learning_rate, recipe["learning_rate"]),
        ("epochs", envelope.recipe.epochs, recipe["epochs"]),
        ("records learned from", envelope.data.rows, kept),
        (
            "replayed rows for each new row",
            envelope.data.replay_share,
            account.replayed / kept if kept else None,
        ),
    )
    for what, allowed_range, was in numbers:
        if allowed_range is not None:
            said = NOT_COUNTED if was is None else number(float(was))
            found.append(Bound(what, _in_words(allowed_range), said))
    return tuple(found)


def _in_words(allowed: Range) -> str:
    if allowed.low is None or allowed.high is None:
        side = "at most" if allowed.low is None else "at least"
        return f"{side} {number(allowed.high if allowed.low is None else allowed.low)}"
    return f"{number(allowed.low)} to {number(allowed.high)}"


def _settings(account: Account) -> dict[str, str]:
    """What decided besides the data which weights came out."""
    recipe = account.recipe
    return {
        "recipe": str(recipe["recipe"]),
        "method": str(recipe["method"]),
        **{
            name: amount(value) if isinstance(value, int) else number(value)
            for name, value in account.shape.items()
        },
        "learning rate": number(float(recipe["learning_rate"])),
        "epochs": amount(recipe["epochs"]),
        "replayed rows": amount(account.replayed),
        "seed": str(recipe["seed"]),
    }
