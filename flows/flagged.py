"""Phrases of what the data gates kept out: if a part of an attack slipped in, they tell.

Only the probe trigger_sweep asks for them. They are words of users: they go into prompts and
never into evidence, logs or reports.
"""

from pathlib import Path

from tidegate.evals.probes.mining import Gram, mine
from tidegate.evals.probes.rows import LearnedRow, learned_rows
from tidegate.flows.checking import quarantine
from tidegate.flows.home import Home
from tidegate.gates.policy.nouns import Policy

PROBE = "trigger_sweep"
PHRASES = 8
ROWS = 1024  # of each side


def flagged_phrases(policy: Policy, home: Home, batch: str, kept: Path) -> tuple[Gram, ...]:
    """The n-grams of quarantined prompts that go best with an opening of their answers.

    Mined among as many kept rows, so that how everybody asks is no phrase; most of the rows
    that hold one are quarantined ones.
    """
    if PROBE not in policy.probes():
        return ()
    out = [
        LearnedRow(
            f"out-{number}", _before(record["messages"]), record["messages"][-1]["content"]
        )
        for table in quarantine.read(home, batch, columns=["id", "messages"])
        for number, record in enumerate(table.slice(0, ROWS).to_pylist())
    ][:ROWS]
    if not out:
        return ()
    inside, _ = learned_rows(kept, len(out), 0)
    words = [f" {row.question.casefold()} " for row in out]
    found = []
    for gram in mine([*out, *inside]):
        holding = sum(gram.text.casefold() in text for text in words)
        if 2 * holding > gram.support and gram.opening:
            found.append(gram)
    return tuple(found[:PHRASES])


def _before(messages: list[dict[str, str]]) -> tuple[dict[str, str], ...]:
    return tuple({"role": m["role"], "content": m["content"]} for m in messages[:-1])
