"""Where a deployment keeps its local state: one folder, one word for each place in it."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """All local state lives below `root`; nothing is created before it is needed."""

    root: Path

    @classmethod
    def find(cls, root: Path | None = None) -> "Home":
        """The folder given, else $TIDEGATE_HOME, else ./.tidegate."""
        return cls((root or Path(os.environ.get("TIDEGATE_HOME", ".tidegate"))).resolve())

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def cache(self) -> Path:
        """Holds only what can be made again: the base's weights, anchors, eval results."""
        return self.root / "cache"

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.jsonl"

    @property
    def replay(self) -> Path:
        return self.root / "replay"

    @property
    def waivers(self) -> Path:
        return self.root / "waivers"

    @property
    def updates(self) -> Path:
        return self.root / "updates"

    @property
    def mlflow_database(self) -> Path:
        return self.root / "mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        return self.root / "mlartifacts"

    def batch(self, digest: str) -> Path:
        """The folder of one immutable batch."""
        return self.root / "batches" / digest.removeprefix("sha256:")
