"""The step of an update that takes out of what is learned whatever goes elsewhere."""

from dataclasses import replace
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from tidegate.flows.check import Checked
from tidegate.flows.context.route import Learnable, route
from tidegate.flows.home import Home
from tidegate.flows.learned import LEARNABLE
from tidegate.flows.routing.rules import Rules
from tidegate.gates.made import TIME
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.types import Batch
from tidegate.training.recipe import Recipe


@task(name="route to the context store", cache_policy=NO_CACHE)
def away_from_the_weights(
    policy: Policy,
    recipe: Recipe,
    home: Home,
    model: str,
    batch: Batch,
    checked: Checked,
    work: Path,
) -> tuple[Checked, Learnable | None]:
    """Take out of what is learned what will not stay true, if the policy keeps time apart,
    what contradicts it and is later, if the policy looks that up, and what the recipe's rules
    send elsewhere. None: nobody asked for any of it."""
    time = TIME in policy.suites()
    if not (time or checked.later or recipe.routes):
        return checked, None
    left = route(
        home,
        batch.digest,
        checked.kept,
        work / LEARNABLE,
        time=time,
        later=checked.later,
        rules=Rules.of(model, recipe.routes, work / "check") if recipe.routes else None,
    )
    return replace(checked, kept=left.kept, rows=left.routed.learned), left
