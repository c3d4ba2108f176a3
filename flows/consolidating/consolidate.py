"""Consolidation: several accepted updates become one, by distillation, through all gates.

    plan → one batch of their rows → recipe → the whole cycle of an update, with a teacher

The student continues from the version before the merged updates (the bare base, if all are
merged); the teacher is the champion. On the rows of those updates, and on everyday answers that
the champion writes, the student learns the champion's likeliest tokens. What continued training
and SVD cuts left in the champion's weights is not carried over, only what it answers; and the
version descends from the one before the merged updates, so that a later erasure repeats one
update in place of many.

It is an update like any other: data gates on the rows, model gates against champion and anchor, a
statement that names the teacher, the version it continues from and the versions it takes the place
of. It teaches nothing that the champion does not know, so a policy whose gate `learned` asks for a
gain holds it: give it a policy that asks for no loss instead, or have people approve.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from prefect import flow
from rich.console import Console
from rich.markup import escape

from tidegate.flows import durable
from tidegate.flows.asked import Asked, recall, recorded_rules
from tidegate.flows.consolidating.merged import last_steps
from tidegate.flows.consolidating.union import union
from tidegate.flows.finishing import result_of_learned
from tidegate.flows.home import Home
from tidegate.flows.intake.stored import PREFIX
from tidegate.flows.ledger import Ledger
from tidegate.flows.one_update import UpdateResult
from tidegate.flows.progress import stage
from tidegate.flows.reconciling.expected import expected
from tidegate.flows.registry import Registry
from tidegate.flows.rules import DEFAULT_POLICY, POLICIES, read_policy
from tidegate.flows.tracing.steps import Step, read_steps
from tidegate.flows.usage import UsageError
from tidegate.gates.types import Digest, Noun
from tidegate.training.methods.distill import distill
from tidegate.training.recipe import OPTIONAL, Recipe, load_recipe

FOLDER, METHOD = "consolidating", distill.__name__
LIKE = POLICIES / "recipes" / "distill.yaml"  # its anchors, where the recorded recipe has none


class ConsolidationPlan(Noun):
    """What would be merged, and how. Digests, names and counts only."""

    model: str
    champion: str
    done: str | None = None  # the update by which the champion is a consolidation itself
    ancestor: str = ""  # version that the student continues from
    versions: tuple[str, ...] = ()  # that are merged, oldest first
    batches: tuple[Digest, ...] = ()
    policy: str = ""
    policy_file: str = ""
    recipe: Recipe | None = None
    probes: tuple[str, ...] = ()  # files of held-out questions, if every update had one


def make_plan(
    home: Home,
    model: str,
    last: int | None = None,
    policy: Path | None = None,
    recipe: Path | None = None,
    floor: Path | None = None,
) -> ConsolidationPlan:
    """Merge the champion's last updates, all if no number is given.

    policy: the file of the last merged update if none is given, as it is today. recipe: one of
    the method `distill`; made from the last update's if none is given. Changes nothing.
    Raises UsageError if there is nothing to merge, PolicyError, YamlError and BrokenLedger.
    """
    steps = read_steps(home)
    champion = expected(Ledger(home.ledger).read(), model).now.champion
    if champion is None:
        raise UsageError(f"there is no model line {model!r} that serves a version")
    now = steps.get((model, champion))
    if now is not None and now.teacher is not None:
        return ConsolidationPlan(model=model, champion=champion, done=now.update_id)
    merged = last_steps(steps, model, champion, last)
    asked = [recall(home, step.update_id) for step in merged]
    file = policy or Path((asked[-1] or Asked(policy=str(DEFAULT_POLICY))).policy)
    rules = read_policy(file, floor)
    how = load_recipe(recipe) if recipe else recipe_like(home, merged[-1])
    if how.method != METHOD or how.scale:
        raise UsageError(
            f"{recipe}: a consolidation takes the method {METHOD!r} and no scale; see {LIKE}"
        )
    files = [one.probes for one in asked if one and one.probes and Path(one.probes).exists()]
    return ConsolidationPlan(
        model=model,
        champion=champion,
        ancestor=merged[0].parent,
        versions=tuple(step.version for step in merged),
        batches=tuple(step.batch for step in merged),
        policy=f"{rules.policy} v{rules.version}",
        policy_file=str(file),
        recipe=how,
        probes=tuple(files) if len(files) == len(merged) else (),
    )


def recipe_like(home: Home, step: Step) -> Recipe:
    """The update's recorded recipe with the method `distill`, and nothing of its own method's."""
    _, how = recorded_rules(home, step.update_id)
    if how.rank is None:
        raise UsageError(
            f"version {step.version} has a cartridge, and a consolidation merges LoRAs; a line of "
            "cartridges is not consolidated"
        )
    anchors = how.anchors or load_recipe(LIKE).anchors
    return how.model_copy(
        update={
            **dict.fromkeys(OPTIONAL),
            "scale": None,
            "recipe": "consolidation",
            "why": f"consolidates updates that were learned as {how.recipe} {how.digest}",
            "method": METHOD,
            "anchors": anchors,
        }
    )


@flow(name="consolidate")
def consolidate(
    model: str,
    home: str,
    last: int | None = None,
    policy: str | None = None,
    recipe: str | None = None,
    floor: str | None = None,
    suites: str | None = None,
    requester: str | None = None,
    tracking_uri: str | None = None,
) -> UpdateResult:
    """Merge the champion's last updates into one, if every gate of the policy passes.

    Raises what make_plan and an update raise. Killed, the same call goes on; asked again about a
    champion that is a consolidation, it says what that came to.
    """
    place = Home(Path(home))
    given = (Path(one) if one else None for one in (policy, recipe, floor))
    plan = make_plan(place, model, last, *given)
    if plan.done is not None:
        # The line's own flow may have been killed behind the alias: then this finishes it.
        found = result_of_learned(Registry.open(place, tracking_uri), place, plan.done)
        return found.model_copy(update={"repeated": True})
    stage("gather what was learned")
    steps = read_steps(place)
    batch = union(place, [steps[model, version] for version in plan.versions])
    # Imported here: it loads torch, which nobody needs who only asks for a plan.
    from tidegate.flows.update import update

    result: UpdateResult = update(
        drops=[PREFIX + batch.digest],
        policy=plan.policy_file,
        recipe=str(_written(place, plan)),
        model=model,
        home=home,
        tracking_uri=tracking_uri,
        probes=_probes(place, plan),
        suites=suites,
        floor=floor,
        requester=requester,
        merge=len(plan.versions),
    )
    return result


def _written(home: Home, plan: ConsolidationPlan) -> Path:
    """The recipe as a file, which a person can look at."""
    if plan.recipe is None:
        raise ValueError("the plan has no recipe")
    path = home.root / FOLDER / f"{plan.recipe.digest[7:19]}.yaml"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = yaml.safe_dump(plan.recipe.model_dump(mode="json"), sort_keys=False)
    durable.replace(path, text.encode())
    return path


def _probes(home: Home, plan: ConsolidationPlan) -> str | None:
    """All updates' questions in one file; ids with their version, since each counts anew."""
    if not plan.probes:
        return None
    lines: list[dict[str, Any]] = []
    for version, name in zip(plan.versions, plan.probes, strict=True):
        lines += _of(version, Path(name).read_text(encoding="utf-8").splitlines())
    path = home.root / FOLDER / f"{plan.model}-probes.jsonl"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    durable.replace(path, "".join(json.dumps(line) + "\n" for line in lines).encode())
    return str(path)


def _of(version: str, lines: Sequence[str]) -> list[dict[str, Any]]:
    read = [json.loads(line) for line in lines if line.strip()]
    return [{**probe, "id": f"{version}-{probe['id']}"} for probe in read]


def show_plan(console: Console, plan: ConsolidationPlan) -> None:
    if plan.done is not None:
        console.print(
            f"{escape(plan.model)} version {plan.champion} is a consolidation already; nothing "
            "was learned since"
        )
        return
    console.print(
        f"{escape(plan.model)}: versions {', '.join(plan.versions)} become one, which continues "
        f"from version {plan.ancestor}; the teacher is version {plan.champion}",
        highlight=False,
        soft_wrap=True,
    )
    for version, batch in zip(plan.versions, plan.batches, strict=True):
        console.print(f"  version {version}: batch {batch}", highlight=False, soft_wrap=True)
    if plan.recipe is not None:
        how = plan.recipe
        console.print(
            f"  {how.method}, rank {how.lora.rank}, learning rate {how.learning_rate:g}, {how.epochs} "
            f"epochs; policy {escape(plan.policy)} ({escape(plan.policy_file)})",
            highlight=False,
            soft_wrap=True,
        )
    asked = "the updates' own files" if plan.probes else "rewordings of the rows"
    console.print(f"  questions: {asked}; and each update's own again, if a gate asks for them")
