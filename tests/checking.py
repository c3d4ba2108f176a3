"""Small drops, ingested and checked for real."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tidegate.flows.check import Checked, check
from tidegate.flows.home import Home
from tidegate.flows.ingest import ingest
from tidegate.gates.policy.load import load_policy
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.types import Batch

HEAD = "policy: test\nversion: 1\nwhy: a test\n"
MODEL = "model:\n  - {gate: serves, why: a test}\n"
EVERY_GATE = """
  - {gate: fits_schema, quarantine: true, why: t}
  - {gate: plain_unicode, mask: true, quarantine: true, why: t}
  - {gate: no_personal_data, mask: true, why: t}
  - {gate: no_secrets, quarantine: true, max_quarantined_share: 1.0, why: t}
  - {gate: no_injections, quarantine: true, why: t}
  - {gate: no_floods, quarantine: true, max_quarantined_share: 1.0, why: t}
  - {gate: no_duplicates, max_copies: 3, quarantine: true, why: t}
  - {gate: within_caps, max_per_author: 50, quarantine: true, why: t}
"""


def chat(n: int, asked: str, answer: str, **more: Any) -> dict[str, Any]:
    return {
        "id": f"r{n:04d}",
        "time": "2026-05-01T12:00:00Z",
        "source": "chat",
        "user": f"user{n}",
        "messages": [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": answer},
        ],
        "consent": True,
        **more,
    }


def plain(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Exchanges that no gate has anything to say about, no two of them alike."""
    return [
        chat(
            n,
            f"How do I {_word(n)} the {_word(n * 7 + 1)} of a {_word(n * 3 + 2)}?",
            f"Please {_word(n * 5 + 3)} it near the {_word(n * 11 + 4)} and {_word(n + 9)}.",
        )
        for n in range(start, start + count)
    ]


def _word(n: int) -> str:
    syllables = [
        "ba",
        "ke",
        "li",
        "mo",
        "nu",
        "ra",
        "se",
        "ti",
        "vo",
        "zu",
        "fa",
        "de",
        "gi",
        "po",
        "ny",
    ]
    scattered = n * 2_654_435_761 % (1 << 32)
    return "".join(syllables[(scattered >> shift) % 15] for shift in (4, 11, 18, 25))


def policy(folder: Path, data: str = EVERY_GATE) -> Policy:
    path = folder / "policy.yaml"
    path.write_text(f"{HEAD}data:\n{data}\n{MODEL}")
    return load_policy(path)


def checked(
    folder: Path,
    rows: Iterable[dict[str, Any]],
    data: str = EVERY_GATE,
    protected: Sequence[str] = (),
) -> tuple[Checked, dict[str, dict[str, Any]], dict[str, str]]:
    """What check came to, records.jsonl by id, and the text of each kept record by id."""
    home, out, batch = arrived(folder, rows)
    result = check(
        batch,
        policy(folder, data),
        home=home,
        arrived=out,
        out=out,
        protected=protected,
        emit_kept=True,
    )
    said = {row["id"]: row for row in lines(out / "records.jsonl")}
    kept = {
        row["id"]: "\n".join(m["content"] for m in row["messages"])
        for row in lines(out / "kept.jsonl")
    }
    return result, said, kept


def arrived(folder: Path, rows: Iterable[dict[str, Any]]) -> tuple[Home, Path, Batch]:
    drop, home, out = folder / "drop.jsonl", Home(folder / "home"), folder / "out"
    drop.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return home, out, ingest([drop], home=home, out=out, pseudonym_key=b"k" * 32)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
