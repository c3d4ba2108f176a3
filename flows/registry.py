"""Which model serves, and every model that was ever proposed: versions and aliases in MLflow.

The rules:
 * Every candidate becomes a version, rejected ones too. Only an alias says "may serve".
 * `champion` serves; `previous` served before it; `anchor` is the first blessed release and
   never moves; `candidate` is the newest proposal.
 * No other file moves `champion`. It moves only to a version whose verdict is "promote",
   and only when the digest of a statement that is already in the ledger is given.
 * MLflow has no compare-and-set: moves are serialised by a lock file on this machine, and
   the alias is read again before and after. Someone on another machine who moves it within
   those milliseconds is seen afterwards by reconciling with the ledger, not here.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from filelock import Timeout as LockTimeout

from tidegate.flows.connection import RegistryError, asking, connect
from tidegate.flows.home import Home
from tidegate.flows.ledger import Ledger
from tidegate.flows.reconciling.expected import Expected, expected
from tidegate.flows.standing import why_never_again
from tidegate.flows.tracking import UPDATE_TAG
from tidegate.flows.versions import (
    STATEMENT_TAG,
    VERDICT_TAG,
    BaseCard,
    ModelVersionInfo,
    Version,
    Versions,
    digest_of,
)
from tidegate.gates.types import Action, Candidate

__all__ = ["BaseCard", "ModelVersionInfo", "Moved", "Registry", "RegistryError", "Version"]

CHAMPION, PREVIOUS, ANCHOR, CANDIDATE = "champion", "previous", "anchor", "candidate"
BARE_PAGE = (
    "# The base, as released\n\nNo gate judged it and nothing was trained. As the anchor it is "
    "what small losses of all later versions are added up against."
)
BLESSED = "blessed"  # the verdict of the base itself, which no gate judged
LOCK_WAIT = 30.0  # seconds; a move of aliases takes milliseconds


@dataclass(frozen=True)
class Moved:
    """What a promotion or a rollback did to `champion`."""

    before: str
    after: str


class Registry(Versions):
    """Versions and the aliases that point at them."""

    @classmethod
    def open(cls, home: Home, tracking_uri: str | None = None) -> "Registry":
        """The registry of an MLflow server, or by default of a SQLite file below `home`.

        Raises RegistryError within seconds if nobody answers or the file is damaged.
        """
        uri = tracking_uri or f"sqlite:///{home.mlflow_database}"
        return cls(connect(uri), home, None if tracking_uri else home.mlflow_artifacts)

    def bless_base(
        self, name: str, base_name: str, base_digest: str, license: str, *, statement: str
    ) -> str:
        """Make the bare base the first version, champion and anchor; return its version.

        Does nothing the second time. Refuses another base than the one that was blessed.
        """
        _is_digest(statement)
        self.ensure_model(name)
        base = BaseCard(name=base_name, digest=base_digest, license=license)
        with self._lock():
            anchor = self.aliases(name).get(ANCHOR)
            if anchor is not None:
                self._same_base(name, anchor, base_digest)
                return anchor
            update_id = f"base-{base_digest[-12:]}"
            if any(v.tags.get(UPDATE_TAG) != update_id for v in self.versions(name)):
                raise RegistryError(
                    f"{name!r} has versions but no anchor; someone deleted the alias: set it "
                    "again in MLflow to the version that the ledger names"
                )
            run_id = self.runs.start_update(name, update_id)
            tags = {VERDICT_TAG: BLESSED, STATEMENT_TAG: statement}
            bare = Candidate(base=base_digest, adapter=None)
            version = self.store(name, run_id, bare, base, None, update_id, tags, BARE_PAGE)
            self.runs.finish(run_id)
            # The anchor last: it is what says that this was done to the end.
            self._set_alias(name, CHAMPION, version)
            self._set_alias(name, ANCHOR, version)
            return version

    def register(
        self,
        name: str,
        run_id: str,
        candidate: Candidate,
        adapter: Path | None,
        *,
        update_id: str,
        tags: Mapping[str, str],
        description: str = "",
    ) -> str:
        """Store a candidate, whatever its verdict, as a version of its update.

        Run again for the same update: the same version, with tags and description renewed.
        Raises RegistryError if the adapter's files do not have the candidate's digest, if
        the base is not the anchor's, or if the update already stored another adapter.
        """
        anchor = self.aliases(name).get(ANCHOR)
        if anchor is None:
            raise RegistryError(f"{name!r} has no anchor; bless its base first")
        base = self._same_base(name, anchor, candidate.base)
        found = digest_of(adapter) if adapter else None
        if found != candidate.adapter:
            raise RegistryError(
                f"the adapter in {adapter} is {found}, the candidate says {candidate.adapter}; "
                "train again: the files changed after training"
            )
        with self._lock():
            return self.store(
                name, run_id, candidate, base, adapter, update_id, tags, description
            )

    # Aliases

    def _set_alias(self, name: str, alias: str, version: str) -> None:
        with asking(f"set the alias {alias} of {name!r}"):
            self.client.set_registered_model_alias(name, alias, version)

    def point_candidate(self, name: str, version: str) -> None:
        self._set_alias(name, CANDIDATE, version)

    def champion(self, name: str) -> ModelVersionInfo | None:
        """What serves today; None before the base was blessed."""
        return self._at(name, CHAMPION)

    def anchor(self, name: str) -> ModelVersionInfo | None:
        """The first blessed release, against which small losses add up."""
        return self._at(name, ANCHOR)

    def promote(self, name: str, version: str, *, was: str, statement: str) -> Moved:
        """Make `version` serve. `was`: the champion that it was compared with.

        The statement must be in the ledger before this is called, and be what made this version
        champion there. Called again after a crash, it finishes what was begun. Raises
        RegistryError if another version serves by now: then the comparison that led here was
        with the wrong champion. Raises it too if the ledger says that this version had to go,
        or that its weights were erased.
        """
        self._settled(statement)
        never = why_never_again(self.home, name, version)
        if never is not None:
            raise RegistryError(never)
        verdict = dict(self.find(name, version).tags).get(VERDICT_TAG)
        if verdict != Action.PROMOTE:
            raise RegistryError(
                f"version {version} of {name!r} has the verdict {verdict!r}, not 'promote'"
            )
        with self._lock():
            self._leads(name, version, statement)
            self.annotate(name, version, {STATEMENT_TAG: statement})
            if self._now(name) == version:
                return Moved(was, version)
            self._still(name, was)
            self._set_alias(name, PREVIOUS, was)
            self._still(name, was)
            self._set_alias(name, CHAMPION, version)
            self._still(name, version)
        return Moved(was, version)

    def has_rolled_back(self, name: str, to: str) -> bool:
        """Whether the aliases are as a rollback to this version leaves them."""
        aliases, must = self.aliases(name), self._must(name)
        return (aliases.get(CHAMPION), aliases.get(PREVIOUS)) == (to, must.previous)

    def rollback(self, name: str, to: str, *, statement: str) -> Moved:
        """Serve an earlier version again, as a statement of the ledger says.

        Moves aliases only; whether it may is for who wrote the statement. `previous` becomes
        what `to` itself had replaced by the ledger, so that a second rollback goes further back
        and never forward to the version that had to go. Called again after a crash, it finishes.
        """
        self._settled(statement)
        self._said(statement, name, to)
        with self._lock():
            before = self._now(name)
            self.annotate(name, to, {"gov.rollback_statement": statement})
            if before != to:
                self._set_alias(name, CHAMPION, to)
                self._still(name, to)
            earlier = self._must(name).previous
            with asking(f"set the alias {PREVIOUS} of {name!r}"):
                if earlier:
                    self.client.set_registered_model_alias(name, PREVIOUS, earlier)
                elif PREVIOUS in self.aliases(name):
                    self.client.delete_registered_model_alias(name, PREVIOUS)
        return Moved(before, to)

    def put_back(
        self,
        name: str,
        aliases: Mapping[str, str | None],
        tags: Mapping[str, Mapping[str, str | None]],
        *,
        statement: str,
    ) -> None:
        """Set aliases, and tags by version, to what the ledger says; None deletes one.

        The statement about it must be in the ledger before this is called, and whoever calls
        has read there that these versions may serve. `champion` moves last; called again after
        a crash, it finishes what was begun.
        """
        self._settled(statement)
        with self._lock():
            for version, changes in tags.items():
                self.annotate(
                    name, version, {k: v for k, v in changes.items() if v is not None}
                )
                with asking(f"delete tags of version {version} of {name!r}"):
                    for key in (key for key, value in changes.items() if value is None):
                        self.client.delete_model_version_tag(name, version, key)
            for alias in sorted(aliases, key=lambda alias: alias == CHAMPION):
                version_or_none = aliases[alias]
                if version_or_none is not None:
                    self._set_alias(name, alias, version_or_none)
                elif alias in self.aliases(name):
                    with asking(f"delete the alias {alias} of {name!r}"):
                        self.client.delete_registered_model_alias(name, alias)
            if aliases.get(CHAMPION) is not None:
                self._still(name, str(aliases[CHAMPION]))

    # How

    def _settled(self, statement: str) -> None:
        """Nobody acts on a statement before it is under the ledger's signed head."""
        _is_digest(statement)
        Ledger(self.home.ledger).settle()

    def _said(self, statement: str, name: str, to: str) -> None:
        found = Ledger(self.home.ledger).find(statement)
        said = found["predicate"] if found else {"act": None, "model": None, "about": {}}
        if (said["act"], said["model"], said["about"].get("version")) != ("rollback", name, to):
            raise RegistryError(
                f"{statement} is no statement of a rollback of {name!r} to version {to}; only "
                "what is in the ledger moves the champion"
            )

    def _must(self, name: str) -> Expected:
        return expected(Ledger(self.home.ledger).read(), name)

    def _leads(self, name: str, version: str, statement: str) -> None:
        """Raise RegistryError unless it is by this statement that the version is champion."""
        must = self._must(name)
        if (must.now.champion, must.moved_by) != (version, statement):
            raise RegistryError(
                f"{statement} is not what makes version {version} of {name!r} champion: by the ledger "
                f"version {must.now.champion} serves, and was moved there meanwhile if it is not the "
                "one that was compared with. Run the update again"
            )

    def _at(self, name: str, alias: str) -> ModelVersionInfo | None:
        version = self.aliases(name).get(alias)
        return None if version is None else self.load(name, version)

    def _now(self, name: str) -> str:
        version = self.aliases(name).get(CHAMPION)
        if version is None:
            raise RegistryError(f"{name!r} has no champion; was the alias deleted in MLflow?")
        return version

    def _still(self, name: str, expected: str) -> None:
        now = self._now(name)
        if now != expected:
            raise RegistryError(
                f"the champion of {name!r} is version {now}, not {expected}: someone moved it "
                f"meanwhile. Look with tidegate reconcile --model {name}, and run the update again "
                f"against the new one: tidegate update DROPS --model {name}"
            )

    def _same_base(self, name: str, anchor: str, digest: str) -> BaseCard:
        base = self.load(name, anchor).base
        if base.digest != digest:
            raise RegistryError(
                f"{name!r} stands on the base {base.digest} ({base.name}), not on {digest}; "
                "another base is another model: give it another name"
            )
        return base

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self.home.root.mkdir(parents=True, exist_ok=True)
        path = self.home.root / "registry.lock"
        try:
            with FileLock(path, timeout=LOCK_WAIT):
                yield
        except LockTimeout as no:
            raise RegistryError(f"{path}: another process holds it; wait for it to end") from no


def _is_digest(statement: str) -> None:
    if len(statement) != 71 or not statement.startswith("sha256:"):
        raise RegistryError(
            f"{statement!r} is not the digest of a statement; append one to the ledger first"
        )
