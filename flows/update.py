"""The whole cycle, top to bottom: one drop in, one decision out.

    ingest → check → replay and anchors → train → measure → decide → record → publish

The line never branches back. A stage that stops the cycle goes straight to the record: a
refusal is as well documented as a promotion. Every stage finds its own earlier output by
digest, so a run that was killed is simply run again: same decision, nothing twice.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from tidegate.evals.suite import Suite, find_suites
from tidegate.flows import replay_store
from tidegate.flows.asked import recorded_rules, remember
from tidegate.flows.canaries import insert_canaries
from tidegate.flows.check import Checked, check
from tidegate.flows.consolidating.merged import Merged, merged
from tidegate.flows.context.away import away_from_the_weights
from tidegate.flows.deployments.parameters import ModelLine, Processes
from tidegate.flows.flagged import flagged_phrases
from tidegate.flows.home import Home
from tidegate.flows.ingest import ingest
from tidegate.flows.intake.pseudonym import pseudonym_key
from tidegate.flows.intake.stored import stored_batch
from tidegate.flows.line import Line, open_line
from tidegate.flows.locks import one_at_a_time
from tidegate.flows.made_suites import (
    FOLDER,
    Sources,
    about_the_past,
    check_sources,
    held_out,
    make_suites,
    past_of,
)
from tidegate.flows.measure import Material, Measured, measure
from tidegate.flows.notifying import tell_decided
from tidegate.flows.observing import each_stage, traced
from tidegate.flows.one_update import Update, UpdateResult, outcome
from tidegate.flows.processes import training_processes
from tidegate.flows.progress import counted
from tidegate.flows.progress import report as progress
from tidegate.flows.provenance import login_name
from tidegate.flows.publish import publish
from tidegate.flows.reviewing.page import rulings_page
from tidegate.flows.reviewing.present import log_measured, log_training
from tidegate.flows.routing.modules import check_names
from tidegate.flows.rules import DEFAULT_POLICY, DEFAULT_RECIPE, read_policy, require_extras
from tidegate.flows.same_update import decided_before, short_hex, update_id
from tidegate.flows.scaling import Scaled, measure_scaled
from tidegate.flows.spending import OutOfBudget, Purse
from tidegate.flows.tracing import index
from tidegate.flows.trusting.store import Trusted, load_trusted
from tidegate.flows.untrained import nothing_to_learn, training_failed
from tidegate.flows.usage import UsageError
from tidegate.gates.conditions import (
    Facts,
    is_proved,
    needs_approval,
    within_budget,
    within_envelope,
)
from tidegate.gates.decide import decide, judge
from tidegate.gates.made import is_made
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.policy.proof import read_proof
from tidegate.gates.types import (
    Action,
    Batch,
    Candidate,
    Decision,
    Measurement,
    Ruling,
)
from tidegate.training.anchors import make_anchors
from tidegate.training.job import Job
from tidegate.training.kinds import refuse_other_kind
from tidegate.training.launch import train_in
from tidegate.training.recipe import Recipe, load_recipe
from tidegate.training.trained import Trained, TrainingError


@flow(name="update", persist_result=True)
@traced("update", outcome, whole=True)
def update(
    drops: list[str],
    policy: str = str(DEFAULT_POLICY),
    recipe: str = str(DEFAULT_RECIPE),
    model: ModelLine = "assistant",
    home: str | None = None,
    tracking_uri: str | None = None,
    probes: str | None = None,
    suites: str | None = None,
    defaults: dict[str, str] | None = None,
    floor: str | None = None,
    trusted: str | None = None,
    requester: str | None = None,
    like: str | None = None,
    base: str | None = None,
    merge: int | None = None,
    processes: Processes | None = None,
) -> UpdateResult:
    """Learn from one or more drops, if every gate of the policy passes.

    Args:
        drops: Files, folders or globs of records, `mlflow:EXPERIMENT`, or `batch:DIGEST` of one
            that is stored.
        policy: A YAML file.
        recipe: A YAML file.
        model: The model line.
        home: Folder of the state; the worker's TIDEGATE_HOME if none is given.
        tracking_uri: MLflow's server; without one, a SQLite file in the home.
        probes: Held-out questions about the batch (JSON Lines); without them, rewordings of
            the batch's own questions are used.
        suites: A folder of further suites that the policy names.
        defaults: Values for fields that a drop does not have.
        floor: The policy that every policy must meet; the shipped one if none is given.
        trusted: Digest of an earlier batch that `tidegate calibrate-data` learned what is
            known from.
        requester: Who asks for the update; whoever runs this process if nobody is named.
        like: An earlier update, whose recorded policy and recipe are taken instead of the files.
        base: With `like`, another base than the recorded recipe's.
        merge: So many of the champion's last updates this one takes the place of; the drop is
            all that they learned, and the champion teaches (`tidegate consolidate`).
        processes: By how many this machine trains; the worker's TIDEGATE_PROCESSES if none is given.
    """
    ranks = training_processes(processes)
    asking = requester or login_name()
    place = Home.find(Path(home) if home else None)
    if like:
        rules, how = recorded_rules(place, like, base)
    elif base:
        raise UsageError("base goes with `like`; a recipe file names its own")
    else:
        rules = read_policy(Path(policy), Path(floor) if floor else None)
        how = load_recipe(Path(recipe))
    require_extras(rules)
    check_sources(rules.suites(), Path(probes) if probes else None)
    check_names(model, how)
    known = load_trusted(place, trusted) if trusted else None
    purse = Purse.of(rules)
    asked = find_suites(
        [name for name in rules.suites() if not is_made(name)],
        folders=[Path(suites)] if suites else [],
    )
    with one_at_a_time(place, model):
        line = opened(model, how.base, place, tracking_uri)
        refuse_other_kind(how, line.champion.adapter)
        arrived = (
            place.updates / "arrived" / short_hex({"drops": sorted(drops), "model": model})
        )
        batch = ingested(drops, place, arrived, defaults or {})
        over = merged(line, merge) if merge else None
        names = over.versions if over else ()
        work = place.updates / update_id(line, batch, rules, how, asked, probes, known, names)
        earlier = decided_before(line, batch, work)
        if earlier is not None:
            tell_decided(place, earlier)  # if it was killed before it could
            return earlier
        begun = Update.begin(line, work, batch, rules, how, asking, over)
        remember(work, policy, probes, suites, trusted)
        with begun.stage("check"):
            checked = data_checked(batch, rules, place, arrived, work / "check", asked, known)
        index.write(place, begun.id, batch.digest)
        if checked.decision.action is not Action.PROMOTE:
            return published(begun.refused(checked))
        checked, left = away_from_the_weights(rules, how, place, model, batch, checked, work)
        begun = begun.after_routing(left)
        if not checked.rows:
            index.write(place, begun.id, batch.digest)
            return published(begun.not_trained(checked, nothing_to_learn(left)))
        drawn = replayed(line, how, checked, work)
        index.write(place, begun.id, batch.digest)  # before a replayed row is learned
        envelope = within_envelope(rules, _facts(line, how, batch, checked, drawn))
        if envelope is not None and envelope.action is Action.REJECT:
            return published(begun.not_trained(checked, envelope))
        # Before training, which must not learn what they ask.
        sources = Sources(
            kept=checked.kept,
            probes=Path(probes) if probes else None,
            out=work / FOLDER,
            seed=how.seed,
            past=past_of(place, line.past_updates()),
        )
        made = make_suites(rules.suites(), asked, sources)
        asked += made
        new, canaries = insert_canaries(rules, checked.kept, work)
        try:
            with begun.stage("train") as run_id:
                trained = candidate_trained(
                    line, how, new, asked, drawn, work, purse, over, ranks
                )
                log_training(begun, run_id, trained, checked.kept, drawn)
        except (TrainingError, OutOfBudget) as failed:
            return published(begun.not_trained(checked, training_failed(failed)))
        candidate = Candidate(
            base=line.base.digest,
            adapter=trained.digest,
            batch=batch.digest,
            recipe=how.digest,
            parent=line.champion.version,
        )
        with begun.stage("measure") as run_id:
            routed = left.measurements() if left else ()
            known_before = (*about_the_past(rules.suites(), made, sources), *routed)
            phrases = flagged_phrases(rules, line.home, batch.digest, checked.kept)
            material = Material(checked.kept, how.seed, canaries, phrases)
            scaled = candidate_measured(
                line, rules, how, candidate, trained, asked, material, known_before, work, purse
            )
            log_measured(begun, run_id, scaled.measured)
        conditions = [
            envelope,
            scaled.ruling,
            within_budget(rules, purse.spent(trained, scaled.every)),
            is_proved(rules, read_proof(Path(policy))),
            needs_approval(rules),
        ]
        ruled = [condition for condition in conditions if condition is not None]
        decision = decided(rules, checked, scaled.measured, ruled)
        return published(begun.judged(checked, drawn, scaled, decision, asked))


@task(name="open the line", cache_policy=NO_CACHE, retries=1, retry_delay_seconds=2)
def opened(model: str, base: str, home: Home, tracking_uri: str | None) -> Line:
    return open_line(model, base, home, tracking_uri, progress)


@task(name="ingest", cache_policy=NO_CACHE)
@traced("ingest", lambda batch: {"batch": batch.digest, "rows": batch.rows, "read": batch.read})
def ingested(drops: Sequence[str], home: Home, out: Path, defaults: Mapping[str, str]) -> Batch:
    stored = stored_batch(drops, home, out)
    if stored is not None:
        return stored
    return ingest(
        drops,
        home=home,
        out=out,
        pseudonym_key=pseudonym_key(home),
        defaults=defaults,
        progress=progress,
    )


@task(name="data gates", cache_policy=NO_CACHE)
@traced("check", lambda seen: {"kept": seen.rows, "quarantined": seen.quarantined})
def data_checked(
    batch: Batch,
    policy: Policy,
    home: Home,
    arrived: Path,
    out: Path,
    suites: Sequence[Suite],
    trusted: Trusted | None,
) -> Checked:
    protected = [text for suite in suites for text in suite.texts()]
    return check(
        batch,
        policy,
        home=home,
        arrived=arrived,
        out=out,
        protected=protected,
        trusted=trusted,
        progress=progress,
    )


@task(name="replay", cache_policy=NO_CACHE)
@traced("prepare", lambda drawn: {"replayed": drawn.rows})
def replayed(line: Line, recipe: Recipe, checked: Checked, work: Path) -> replay_store.Draw:
    wanted = round(recipe.replay.share * checked.rows) if recipe.replay else 0
    return replay_store.draw(
        line.home, line.lineage(), wanted, recipe.seed, checked.refused, work / "replay.parquet"
    )


@task(name="train", cache_policy=NO_CACHE)
@traced(
    "train", lambda made: {"adapter": made.digest, "steps": made.steps, "tokens": made.tokens}
)
def candidate_trained(
    line: Line,
    recipe: Recipe,
    new: Path,
    asked: Sequence[Suite],
    drawn: replay_store.Draw,
    work: Path,
    purse: Purse,
    over: Merged | None,
    processes: int,
) -> Trained:
    champion = line.champion
    anchors = None
    if recipe.answers:
        anchors = make_anchors(
            recipe,
            line.base,
            champion.adapter,
            champion.candidate.digest,
            cache=line.home.cache,
            progress=progress,
        )
    job = Job(
        recipe=recipe,
        base=line.base,
        parent=over.ancestor.adapter if over else champion.adapter,
        teacher=champion.adapter if over else None,
        new=new,
        replay=drawn.path,
        anchors=anchors,
        work=work / "train",
        past=line.accepted(recipe),
        held_out=tuple(held_out(asked)) if recipe.expand else None,
    )
    return train_in(processes, job, purse.watching(progress))


@task(name="measure", cache_policy=NO_CACHE)
@traced("measure")
def candidate_measured(
    line: Line,
    policy: Policy,
    recipe: Recipe,
    candidate: Candidate,
    trained: Trained,
    suites: Sequence[Suite],
    material: Material,
    known: Sequence[Measurement],
    work: Path,
    purse: Purse,
) -> Scaled:
    # One line for all of it: suites are asked chunk by chunk, on three models.
    watched = purse.watching(counted(progress, "measure anchor, champion, candidate"))
    with each_stage(watched) as seen:
        return measure_scaled(
            recipe.scale,
            policy,
            candidate,
            trained,
            line.champion.adapter,
            work / "scaled",
            lambda rules, subject, made: measure(
                line, rules, subject, made.adapter, suites, material, seen, known
            ),
        )


@task(name="decide", cache_policy=NO_CACHE, persist_result=True)
@traced("decide", lambda decision: {"action": decision.action})
def decided(
    policy: Policy, checked: Checked, measured: Measured, conditions: Sequence[Ruling]
) -> Decision:
    judged = judge(policy, measured.evidence)
    return decide([*checked.decision.rulings, *judged, *conditions])


@task(name="record and publish", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=3)
@traced("publish", lambda result: {"statement": result.statement})
def published(finished: Update) -> UpdateResult:
    # Safe to repeat: the statement is written once, and the registry finds its own version.
    result = publish(finished, datetime.now(UTC), progress)
    create_markdown_artifact(
        key=f"rulings-{short_hex(result.model)}",
        markdown=rulings_page(result.decision, f"{result.model} version {result.version}"),
        description=f"Decision about {result.update_id}",
    )
    tell_decided(finished.line.home, result)
    return result


def _facts(
    line: Line, recipe: Recipe, batch: Batch, checked: Checked, drawn: replay_store.Draw
) -> Facts:
    return Facts(
        base=line.base.digest,
        method=recipe.method,
        rank=recipe.rank,
        alpha=recipe.alpha,
        learning_rate=recipe.learning_rate,
        epochs=recipe.epochs,
        sources=tuple(batch.sources),
        rows=checked.rows,
        replay_share=drawn.rows / checked.rows,
    )
