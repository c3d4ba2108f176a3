"""Forget: erase records, or all of an author, from the home and from what it serves.

    act `forget` → tombstones → stop and out of service → delete → rebuild → verify → act `erase`

Rows are deleted before anything is trained again: a rebuild that never sees them needs no
trust, and one that fails keeps nobody's text. Killed anywhere, the same command goes on; where
what was erased has come back, it begins another round.
The flow is given marks, never an id or a name: what it is started with is kept by Prefect.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock
from prefect import flow

from tidegate.flows.erasing import erase, state, texts, tombstones
from tidegate.flows.erasing.describe import describe
from tidegate.flows.erasing.plan import Plan, make_plan
from tidegate.flows.erasing.rebuild import finished, rebuild
from tidegate.flows.erasing.rounds import begun, next_round
from tidegate.flows.erasing.state import State, Verified, request_of, save
from tidegate.flows.erasing.stopped import stopped
from tidegate.flows.erasing.telling import ask_before, judge
from tidegate.flows.erasing.verify import verify
from tidegate.flows.home import Home
from tidegate.flows.intake.pseudonym import is_pseudonym, pseudonym, pseudonym_key
from tidegate.flows.ledger import Ledger
from tidegate.flows.progress import report as progress
from tidegate.flows.progress import stage
from tidegate.flows.registry import Registry
from tidegate.flows.tracing.marks import Marker
from tidegate.flows.tracing.record import aliases_of, reach_of
from tidegate.flows.tracing.steps import read_steps
from tidegate.flows.tracing.wanted import Wanted
from tidegate.flows.usage import UsageError
from tidegate.gates.audit import statement
from tidegate.gates.digest import digest_json
from tidegate.gates.types import Noun, Outcome


class Forgotten(Noun):
    """What an erasure came to, as `tidegate forget --json` prints it."""

    state: State
    rebuilt: bool  # every update was repeated and promoted, or none had to be

    @property
    def exit_code(self) -> int:
        """0 erased and rebuilt, 2 not all rebuilt or compared, 4 something was still found.

        A rebuilt version that can be told from its never-trained twin is something found.
        """
        told = {one.outcome for one in self.state.told}
        if self.state.verified is None or not self.state.verified.exact:
            return 4
        if told & {Outcome.FAIL, Outcome.ERROR}:
            return 4
        return 0 if self.rebuilt and told <= {Outcome.PASS} else 2


def wanted_of(home: Home, records: Sequence[str], users: Sequence[str]) -> Wanted:
    """Marks of ids, and of authors by the name that came in or by their pseudonym."""
    marker, key = Marker(home), pseudonym_key(home)
    pseudonyms = {pseudonym(key, name) for name in users} | {
        n for n in users if is_pseudonym(n)
    }
    return Wanted(frozenset(marker.records(records)), frozenset(map(marker.author, pseudonyms)))


def plan_of(home: Home, wanted: Wanted, model: str | None, uri: str | None) -> Plan:
    """The blast radius and the rebuild; changes nothing but the lineage of older updates.

    Raises UsageError if nothing of them was ever here, or a line other than `model` is reached.
    """
    known = state.load(home, request_of(wanted))
    if known is not None:
        return next_round(home, uri, known, wanted).plan
    aliases = aliases_of(home, uri)
    reach = reach_of(home, wanted, aliases)
    if not reach.found:
        raise UsageError(
            "no stored batch and no update ever held such a record, and no list of what was left "
            "out names one; see that ids and names are written as in the drop, and that --home is "
            "the home that took them in"
        )
    plan = make_plan(read_steps(home), reach, aliases)
    others = set(plan.models) - {model}
    if model is not None and others:
        raise UsageError(
            f"the rows are in the model lines {', '.join(sorted(others))} too; leave out --model: "
            "a home forgets as a whole"
        )
    return plan


@flow(name="forget")
def forget(
    records: list[str],
    authors: list[str],
    home: str,
    model: str | None = None,
    reason: str = "not given",
    who: str = "unknown",
    tracking_uri: str | None = None,
    again: bool = True,
    compare: bool = False,
) -> Forgotten:
    """Erase the records and authors with these marks.

    again: rebuild what served. compare: also with a never-trained twin (twin.py).
    """
    place, wanted = Home(Path(home)), Wanted(frozenset(records), frozenset(authors))
    request = request_of(wanted)
    place.root.mkdir(parents=True, exist_ok=True)
    with FileLock(place.root / "erasing.lock"):
        now = state.load(place, request)
        if now is None:
            now = save(
                place, State(request=request, plan=plan_of(place, wanted, model, tracking_uri))
            )
        else:
            now = begun(place, tracking_uri, now, wanted)
        compare = _compares(place, now, compare)
        stage("write down what is asked")
        written = Ledger(place.ledger).append(_act_forget(now, wanted, reason, who))
        stage("bury")
        wide = _buried(place, now, wanted)
        registry = Registry.open(place, tracking_uri)
        if not now.deleted:
            now = _erased(place, registry, now, wide, written, tracking_uri, again, compare)
        if again:
            stage("rebuild")
            now = rebuild(place, now, who, tracking_uri)
        if compare:
            stage("compare with a never-trained twin")
            now = judge(place, registry, now, progress)
        stage("describe the versions")
        describe(registry, now)
        stage("look into every file")
        seen = verify(place, registry, now, wide, progress)
        now = save(place, now.model_copy(update={"verified": seen}))
        stage("write down what was done")
        statements = _recorded(place, now)
        now = save(place, now.model_copy(update={"statements": (written, *statements)}))
        stage("clear away")
        if now.verified and now.verified.exact:
            texts.place(place, request).unlink(missing_ok=True)  # last: nothing is left to find
    return Forgotten(state=now, rebuilt=finished(now))


def _compares(home: Home, now: State, wanted: bool) -> bool:
    """Whether a twin is asked for: now, or by the run of this erasure that was killed."""
    begun = state.compares(home, now.request)
    if wanted and now.deleted and not begun and not now.told:
        raise UsageError(
            "the rows are deleted, so that nothing is left to ask the models about; --twin has to "
            "be given to the command that begins the erasure"
        )
    return begun or (wanted and not now.deleted)


def _buried(home: Home, now: State, wanted: Wanted) -> Wanted:
    """The tombstones, with every record of the authors that is, or was, known."""
    known = tombstones.read(home, now.request)
    if known is None or not now.deleted:
        known = erase.widened(home, wanted | (known or Wanted()))
        tombstones.bury(home, now.request, known)
    return known


def _erased(
    home: Home,
    registry: Registry,
    now: State,
    wide: Wanted,
    written: str,
    uri: str | None,
    again: bool,
    compare: bool,
) -> State:
    stage("hold the model lines")
    with stopped(home, registry, now, wide, uri) as held:
        stage("gather what to look for")
        texts.collect(home, held.request, wide)
        if compare:
            stage("ask the version that knows the rows")
            ask_before(home, registry, held, wide, progress)
        stage("make smaller batches")
        held = erase.smaller_batches(home, held, wide, needed=again)
        for name, delete in erase.deletions(home, registry, held, wide, written):
            stage(f"delete: {name}")
            delete()
        return save(home, held.model_copy(update={"deleted": True}))


def _act_forget(now: State, wanted: Wanted, reason: str, who: str) -> dict[str, Any]:
    plan = now.plan
    return statement(
        act="forget",
        model="",
        subjects={"plan": digest_json(plan.model_dump(mode="json"))},
        about={
            "decision_id": f"forget {now.name}",
            "request": now.request,
            "round": now.round,
            "by": who,
            "reason": reason,
            "records": sorted(wanted.records),
            "authors": sorted(wanted.authors),
            "batches": list(plan.batches),
            "rows": plan.rows,
            "versions": [{"model": v.model, "version": v.version} for v in plan.versions],
        },
        decided_at=datetime.now(UTC),
    )


def _recorded(home: Home, now: State) -> list[str]:
    """One act `erase` a model line; one that is about none if no version was affected."""
    return [
        Ledger(home.ledger).append(_act_erase(now, model)) for model in now.plan.models or ("",)
    ]


def _act_erase(now: State, model: str) -> dict[str, Any]:
    seen: Verified | None = now.verified
    if seen is None:
        raise UsageError(
            f"erasure {now.request} was never verified; run the same command again"
        )
    rebuilt = [r for r in now.rebuilt if r.model == model]
    about = {
        "request": now.request,
        "round": now.round,
        "versions": [w.version for w in now.plan.weights if w.model == model],
        "batches": dict(sorted(now.batches.items())),
        "rows": now.plan.rows,
        "rebuilds": [r.model_dump(mode="json") for r in rebuilt],
        "verification": {
            "lineage_clean": seen.lineage_clean,
            "weights_gone": seen.weights_gone,
            "files_searched": str(seen.searched.files),
            "pieces_searched": str(seen.searched.pieces),
            "pieces_shared": str(seen.searched.shared),
            "places_found": str(len(seen.searched.found)),
        },
        "exact": seen.exact,
    }
    told = [one.model_dump(mode="json") for one in now.told if one.model == model]
    named = [about["rebuilds"], seen.exact, *told]
    if told:
        about["twin"] = told[0]
    return statement(
        act="erase",
        model=model,
        subjects={"plan": digest_json(now.plan.model_dump(mode="json"))},
        # What was found and rebuilt names the act: a rebuild that goes on later is another.
        about={
            "decision_id": f"erase {now.name} {model} {digest_json(named)}",
            **about,
        },
        decided_at=datetime.now(UTC),
    )
