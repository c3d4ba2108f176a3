"""How far an erasure has come: one small file a request, so that a killed one goes on.

`erasing/REQUEST/state.json` holds the plan and what is done of it: digests, versions and
counts. Beside it, only while the erasure runs, `texts.json`: what to look for in the end.
"""

from pathlib import Path

from pydantic import Field, ValidationError

from tidegate.flows import durable
from tidegate.flows.erasing.plan import Plan
from tidegate.flows.home import Home
from tidegate.flows.tracing.wanted import Wanted
from tidegate.flows.usage import UsageError
from tidegate.gates.digest import digest_json
from tidegate.gates.types import Action, Digest, Noun, Outcome


class Rebuilt(Noun):
    """What came of one update that was repeated without the rows."""

    model: str
    of: str  # the version whose update was repeated
    batch: Digest | None  # None: no row is left
    version: str | None = None
    update_id: str | None = None
    action: Action | None  # None: there was nothing to decide
    reason: str = ""

    @property
    def done(self) -> bool:
        """Whether the next update may be repeated."""
        return self.action is Action.PROMOTE or self.batch is None


class Searched(Noun):
    """What a search of the home for erased text found."""

    files: int
    pieces: int  # of texts, ids and pseudonyms that were looked for
    shared: int  # pieces not looked for: a record that stays says the same, or they are short
    found: tuple[str, ...]  # places below the home that still hold one


class Verified(Noun):
    """What was looked at when all was done."""

    lineage_clean: bool  # nothing that serves has an erased mark in its lineage
    weights_gone: bool
    searched: Searched

    @property
    def exact(self) -> bool:
        return self.lineage_clean and self.weights_gone and not self.searched.found


class Told(Noun):
    """Whether a rebuilt version can be told from a never-trained twin (twin.py)."""

    model: str
    erased: str  # the version that had learned the rows: the control
    version: str | None  # the rebuilt one
    outcome: Outcome
    reason: str
    control: Outcome | None = None  # of the erased version against the twin; must be FAIL
    control_reason: str = ""
    rows: int = 0  # that were asked about
    learned: int = 0  # of so many erased rows that were learned
    seed: int | None = None  # of the twin's last update
    measured: dict[str, str] = Field(default_factory=dict)


class State(Noun):
    """An erasure on its way."""

    request: str
    round: int = 1  # one more each time that what was erased had come back (rounds.py)
    plan: Plan
    batches: dict[Digest, Digest | None] = Field(
        default_factory=dict
    )  # without the rows; None: nothing was left
    deleted: bool = False
    rebuilt: tuple[Rebuilt, ...] = ()
    told: tuple[Told, ...] = ()  # only where a twin was asked for
    verified: Verified | None = None
    statements: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the acts of this round are named by."""
        return self.request if self.round == 1 else f"{self.request} round {self.round}"


def request_of(wanted: Wanted) -> str:
    """The same records and authors are the same request."""
    said = {"records": sorted(wanted.records), "authors": sorted(wanted.authors)}
    return f"f-{digest_json(said)[7:27]}"


def folder(home: Home, request: str) -> Path:
    return home.root / "erasing" / request


def twin_folder(home: Home, request: str) -> Path:
    """What a comparison with a twin needs, until it is made (telling.py)."""
    return folder(home, request) / "twin"


def compares(home: Home, request: str) -> bool:
    """Whether an earlier run of the same erasure was asked for a twin, and did not come to it."""
    return twin_folder(home, request).exists()


def load(home: Home, request: str) -> State | None:
    """None if the request is new. Raises UsageError for a damaged file."""
    path = folder(home, request) / "state.json"
    try:
        return State.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        raise UsageError(
            f"{path}: is damaged; restore it, or delete it to begin again"
        ) from None


def save(home: Home, state: State) -> State:
    path = folder(home, state.request) / "state.json"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    durable.replace(path, state.model_dump_json(indent=1).encode())
    return state
