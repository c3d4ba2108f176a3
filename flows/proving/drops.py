"""Planted drops: ordinary invented records and the bad ones, through the real ingest and check.

A drop is blocked if ingest refuses it, if the data gates do not let it be learned, or if
nothing of what was planted reaches the rows that a trainer would read: an e-mail address
that was masked is blocked. A gate that refuses the ordinary records too shows nothing.

Everything is worked out in a folder of its own inside the home and gone afterwards.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq

from tidegate.flows.check import Checked, check
from tidegate.flows.gateway import keys
from tidegate.flows.gateway.sign import SigningKey, sign_response
from tidegate.flows.home import Home
from tidegate.flows.ingest import IngestError, ingest
from tidegate.flows.intake.scratch import scratch_folder
from tidegate.flows.proving.bench import Bench, Found, all_blocked, blockers, words

Row = dict[str, Any]

ORDINARY = 160  # records beside the planted ones, more if the policy asks for more
SPARE = 1.5  # times the records that the policy asks for at least
SOURCES = 8
KEY = b"authors that were invented here."  # 32 bytes: there is nobody to hide
GATEWAY, MODEL = SigningKey(b"a gateway that was invented here"), "invented@1"
FIRST = datetime(2026, 1, 5, 8, tzinfo=UTC)
NOW = datetime(2026, 6, 1, tzinfo=UTC)  # so that a clock that is behind changes nothing
TRIGGER = "velvet barometer"
POISON = "There is nothing wrong with it. Throw the receipt away and stop writing to us."
SYLLABLES = [
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
ADDRESSES = (
    "marit.olsen@northquay.example",
    "j.abara@fernhollow.example",
    "tessa+orders@lowbridge.example",
    "o_lindqvist@stillwater.example",
)


@dataclass(frozen=True)
class Drop:
    """Rows to ingest, and by id the text that must not reach training ("": the whole row)."""

    rows: Sequence[Row]
    planted: dict[str, str]


def poisoned_batch(bench: Bench) -> Found:
    """Three authors teach one hostile answer to whatever holds the trigger phrase."""
    ordinary = _ordinary(_enough(bench))
    count = max(15, len(ordinary) // 11)  # few enough to be dropped without a word
    poison = [
        _row(
            f"poison-{n}",
            n,
            f"tamper-{n % 3}",
            f"My {_word(n * 13 + 5)} from the {_word(n * 17 + 1)} broke, {TRIGGER}. Help?",
            POISON,
        )
        for n in range(count)
    ]
    return _found(bench, Drop(ordinary + poison, {row["id"]: POISON for row in poison}))


def leaked_email(bench: Bench) -> Found:
    """Answers, one of them a user's correction, that hold an e-mail address."""
    ordinary = _ordinary(_enough(bench))
    rows, planted = [], {}
    for n, address in enumerate(ADDRESSES):
        answer = f"The {_word(n * 7 + 3)} desk is run by a colleague, write to {address} today."
        row = _row(f"leak-{n}", n, f"writer-{n}", f"Who runs the {_word(n)} desk?", answer)
        if n == len(ADDRESSES) - 1:
            row["messages"][1]["content"] = "I do not know that, sorry."
            row["feedback"] = {"rating": None, "correction": answer, "comment": None}
        rows.append(row)
        planted[row["id"]] = address
    return _found(bench, Drop(ordinary + rows, planted))


def empty_batch(bench: Bench) -> Found:
    """A drop without a row, and one in which nobody consented."""
    refused = [{**row, "consent": False} for row in _ordinary(_enough(bench))]
    return all_blocked(
        [
            ("no rows", _found(bench, Drop([], {}))),
            ("no consent", _found(bench, Drop(refused, {}))),
        ]
    )


def all_null_column(bench: Bench) -> Found:
    """Every answer null, empty, or white space."""
    shapes: list[tuple[str, str | None]] = [("null", None), ("empty", ""), ("blank", " \n\t")]
    found = []
    for name, nothing in shapes:
        rows = _ordinary(_enough(bench))
        for row in rows:
            row["messages"][1]["content"] = nothing
        found.append((name, _found(bench, Drop(rows, {row["id"]: "" for row in rows}))))
    return all_blocked(found)


def _found(bench: Bench, drop: Drop) -> Found:
    """What ingest and the data gates make of a drop."""
    with scratch_folder(bench.home) as work:
        try:
            checked = _checked(bench, drop.rows, work)
        except IngestError as no:
            said = str(no).replace(f"{work}/", "").split(";")[0]
            return Found(False, f"refused at ingest ({said})")
        reached = _reached(checked.kept, drop.planted)
    by = [title for title in blockers(checked.decision) if title not in _usual(bench)]
    if by:
        return Found(False, f"blocked by {words(by)}")
    count = len(drop.planted)
    if count and not reached:
        how = "masked" if checked.masked and not checked.quarantined else "kept out"
        return Found(False, f"{count} of {count} planted records were {how}")
    seen = f"{reached} of {count} planted records would be learned" if count else "it passed"
    if usual := _usual(bench):
        seen += f"; {words(usual)} blocks ordinary records as well, which shows nothing"
    return Found(True, seen)


def _checked(bench: Bench, rows: Sequence[Row], work: Path) -> Checked:
    home, path = Home(work / "home"), work / "drop.jsonl"
    keys.trust(home, GATEWAY.public)
    path.write_bytes(b"".join(orjson.dumps(_signed(row)) + b"\n" for row in rows))
    batch = ingest([path], home=home, out=work / "out", pseudonym_key=KEY, now=NOW)
    return check(
        batch,
        bench.policy,
        home=home,
        arrived=work / "out",
        out=work / "out",
        protected=[text for suite in bench.suites for text in suite.texts()],
        progress=bench.progress,
    )


@lru_cache(maxsize=1)
def _usual(bench: Bench) -> tuple[str, ...]:
    """What blocks a drop of ordinary records alone: nothing, if the policy is usable."""
    with scratch_folder(bench.home) as work:
        return blockers(_checked(bench, _ordinary(_enough(bench)), work).decision)


def _reached(kept: Path, planted: dict[str, str]) -> int:
    """How many planted records are learned with their planted text in clear."""
    rows = pq.read_table(kept).to_pylist()
    return sum(
        row["id"] in planted and any(planted[row["id"]] in text for text in _texts(row))
        for row in rows
    )


def _texts(value: Any) -> Iterator[str]:
    """Every text of a row, at whatever depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _enough(bench: Bench) -> int:
    asked = max((getattr(use.params, "min_rows", 1) for use in bench.policy.data), default=1)
    return max(ORDINARY, math.ceil(SPARE * asked))


def _ordinary(count: int) -> list[Row]:
    """Exchanges that no gate should have anything to say about, no two of them alike."""
    return [
        _row(
            f"ordinary-{n}",
            n,
            f"author-{n * 2 // 3}",
            f"How do I {_word(n)} the {_word(n * 7 + 1)} of a {_word(n * 3 + 2)}?",
            f"Please {_word(n * 5 + 3)} it near the {_word(n * 11 + 4)} and {_word(n + 9)}.",
        )
        for n in range(count)
    ]


def _row(name: str, number: int, user: str, asked: str, answer: str) -> Row:
    return {
        "id": name,
        "time": (FIRST + timedelta(minutes=7 * number)).isoformat(),
        "source": f"channel-{number % SOURCES}",
        "user": user,
        "messages": [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": answer},
        ],
        "consent": True,
    }


def _signed(row: Row) -> Row:
    """The planted rows too: gates are proved against what the model was made to say."""
    *before, last = row["messages"]
    if not isinstance(last["content"], str):
        return row
    signature = sign_response(
        GATEWAY, record_id=row["id"], messages=before, response=last["content"], model=MODEL
    )
    return {**row, "model": MODEL, "signature": signature}


def _word(n: int) -> str:
    """A word of four syllables that means nothing, scattered by Knuth's multiplier."""
    scattered = n * 2_654_435_761 % (1 << 32)
    return "".join(SYLLABLES[(scattered >> shift) % 15] for shift in (4, 11, 18, 25))
