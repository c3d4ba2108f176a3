"""The context store: texts that are looked up when a question is asked, with their dates.

`context/<batch>.jsonl` in the home is the store, one file a batch, written whole. Beside it
lies an SQLite full-text index (FTS5) that holds only what can be made again: it is rebuilt
whenever the files are not those that it was made from. An entry past its `valid_until` is
never answered with.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, ValidationError

from tidegate.evals.files import write_whole
from tidegate.flows.home import Home
from tidegate.flows.usage import UsageError
from tidegate.gates.digest import digest_file, digest_json
from tidegate.gates.types import Noun

SCHEMA = """
CREATE TABLE made_from (digest TEXT);
CREATE VIRTUAL TABLE entry USING fts5(
    question, answer, batch UNINDEXED, line UNINDEXED, tokenize = 'unicode61 remove_diacritics 2'
);
"""


# later: than what was learned, and other. The rest: by a rule of a recipe.
Why = Literal["dated", "volatile", "later", "masked", "one_off", "source"]


class Entry(Noun):
    """One exchange that is looked up."""

    id: str
    question: str
    answer: str
    valid_from: AwareDatetime | None
    valid_until: AwareDatetime | None
    why: Why
    reason: str | None = None  # of the recipe's rule that sent it here; None: the policy did

    def holds(self, at: datetime) -> bool:
        """Whether it is valid at this time."""
        begun = self.valid_from is None or self.valid_from <= at
        return begun and (self.valid_until is None or at < self.valid_until)


class Hit(Noun):
    """An entry that a question found, the best first."""

    batch: str
    entry: Entry
    score: float  # BM25, higher is better


def put(home: Home, batch: str, entries: Sequence[Entry]) -> None:
    """Store a batch's entries in place of those that it had. No entries: no file."""
    path = _folder(home) / f"{batch.removeprefix('sha256:')}.jsonl"
    if entries:
        write_whole(path, "".join(f"{e.model_dump_json()}\n" for e in entries).encode())
    else:
        path.unlink(missing_ok=True)


def entries(home: Home) -> list[tuple[str, Entry]]:
    """Every entry with its batch. Raises UsageError for a file that was damaged."""
    return [(path.stem, entry) for path in files(home) for entry in _read(path)]


def query(home: Home, text: str, at: datetime, most: int = 5) -> list[Hit]:
    """The entries valid at `at` that share words with the text, by BM25.

    The text is words only: nothing in it is read as FTS5's query language.
    Raises UsageError for a text without a word and for a store that was damaged.
    """
    words = "".join(c if c.isalnum() else " " for c in text).split()
    if not words:
        raise UsageError("there is no word in the question; ask in words")
    asked = " OR ".join(f'"{word}"' for word in dict.fromkeys(words))
    stored = {path.stem: _read(path) for path in files(home)}
    found: list[Hit] = []
    with closing(_index(home, stored)) as database:
        rows = database.execute(
            "SELECT batch, line, bm25(entry) FROM entry WHERE entry MATCH ? "
            "ORDER BY bm25(entry), batch, line",
            (asked,),
        )
        for batch, line, rank in rows:
            entry = stored[batch][line]
            if entry.holds(at):
                found.append(Hit(batch=batch, entry=entry, score=-rank))
            if len(found) == most:
                break
    return found


def _folder(home: Home) -> Path:
    return home.root / "context"


def files(home: Home) -> list[Path]:
    """One file a batch, named by its digest."""
    return sorted(_folder(home).glob("*.jsonl"))


def _read(path: Path) -> list[Entry]:
    try:
        lines = path.read_bytes().split(b"\n")
        return [Entry.model_validate_json(line) for line in lines if line]
    except ValidationError:
        raise UsageError(
            f"{path}: a line is not an entry of a context store; restore the file, or remove it "
            "and run the update of that batch again"
        ) from None


def _index(home: Home, stored: dict[str, list[Entry]]) -> sqlite3.Connection:
    """The index over what is stored now, made again if it is of other files."""
    now = digest_json({path.stem: digest_file(path) for path in files(home)})
    path = home.cache / "context.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    if _made_from(path) != now:
        path.unlink(missing_ok=True)
        with closing(sqlite3.connect(path)) as database, database:
            database.executescript(SCHEMA)
            database.executemany(
                "INSERT INTO entry VALUES (?, ?, ?, ?)",
                (
                    (entry.question, entry.answer, batch, line)
                    for batch, found in stored.items()
                    for line, entry in enumerate(found)
                ),
            )
            database.execute("INSERT INTO made_from VALUES (?)", (now,))
    return sqlite3.connect(path)


def _made_from(path: Path) -> str | None:
    """What the index says it was made from; None if there is none that can be read."""
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(path)) as database:
            row = database.execute("SELECT digest FROM made_from").fetchone()
    except sqlite3.DatabaseError:
        return None
    return str(row[0]) if row else None
