"""The ledger file: statements, one a line, appended under a lock and synced to disk.

The ledger is the truth about what was decided; MLflow's tags and aliases are an index for
people. A statement is on disk before any alias moves.
"""

import os
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from tidegate.gates.audit import NO_PREVIOUS, BrokenLedger, Statement, verify_chain
from tidegate.gates.digest import canonical, digest_json


class Ledger:
    """An append-only file of statements, each holding the digest of the one before."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[tuple[str, Statement]]:
        """All statements with their digests, after checking the chain."""
        if not self.path.exists():
            return []
        content = self.path.read_bytes()
        if content and not content.endswith(b"\n"):
            last = content.count(b"\n") + 1
            raise BrokenLedger(
                f"{self.path}:{last}: the last line was cut off in writing; it was never acted "
                "on. Move it to a file of its own and run again"
            )
        return verify_chain(content.splitlines(), str(self.path))

    def append(self, build: Callable[[str], Statement]) -> str:
        """Write the statement that `build(previous digest)` makes; return its digest.

        Written once: if the ledger already holds a statement with the same decision id,
        its digest is returned and nothing is added.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_suffix(".lock")):
            known = self.read()
            previous = known[-1][0] if known else NO_PREVIOUS
            record = build(previous)
            for digest, earlier in known:
                if _decision_id(earlier) == _decision_id(record):
                    return digest
            new = not self.path.exists()
            with self.path.open("ab") as lines:
                lines.write(canonical(record) + b"\n")
                lines.flush()
                os.fsync(lines.fileno())
            if new:  # the file's name must survive a crash too
                folder = os.open(self.path.parent, os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
            return digest_json(record)

    def find(self, digest: str) -> Statement | None:
        return next((record for known, record in self.read() if known == digest), None)


def _decision_id(record: Statement) -> str:
    return str(record["predicate"]["about"]["decision_id"])
