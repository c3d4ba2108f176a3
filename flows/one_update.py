"""One update on its way through the stages, and what it came to."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tidegate.evals.suite import Suite
from tidegate.flows.check import Checked
from tidegate.flows.consolidating.merged import Merged
from tidegate.flows.context.route import Learnable
from tidegate.flows.line import Line
from tidegate.flows.measure import Measured
from tidegate.flows.observing import Facts, rulings
from tidegate.flows.replay_store import Draw
from tidegate.flows.routing.modules import ModuleDrop
from tidegate.flows.scaling import Scaled
from tidegate.gates.decide import decide
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.scaling import Tried
from tidegate.gates.types import Action, Batch, Candidate, Decision, Noun, Ruling
from tidegate.training.recipe import Recipe
from tidegate.training.trained import Trained


class UpdateResult(Noun):
    """What an update came to, as `tidegate update --json` prints it."""

    update_id: str
    decision: Decision
    document: dict[str, Any]
    model: str
    version: str
    run_id: str
    statement: str
    report: Path
    repeated: bool = False  # found, not made: the same update was decided before
    modules: tuple[ModuleDrop, ...] = ()  # records that wait for a line of their own

    def as_document(self) -> dict[str, Any]:
        """What `tidegate update --json` prints: the decision, and where it is recorded."""
        said = {
            **self.document,
            "model": {"name": self.model, "version": self.version},
            "run_id": self.run_id,
            "statement": self.statement,
        }
        if self.modules:
            said["modules"] = [drop.as_document() for drop in self.modules]
        return said

    @property
    def exit_code(self) -> int:
        if self.decision.action is Action.PROMOTE:
            return 0
        if self.decision.evidence_is_broken:
            return 4
        return 1 if self.decision.action is Action.REJECT else 2


def outcome(result: UpdateResult) -> Facts:
    """What the span of an update says about it: the action, and each ruling as an event."""
    rulings(result.decision)
    return {
        "update": result.update_id,
        "action": result.decision.action,
        "statement": result.statement,
        "version": int(result.version),
        "repeated": int(result.repeated),
    }


@dataclass(frozen=True)
class Update:
    """One update on its way: what every stage so far has made."""

    line: Line
    work: Path
    run_id: str
    batch: Batch
    policy: Policy
    recipe: Recipe
    requester: str
    decision: Decision | None = None
    checked: Checked | None = None
    drawn: Draw | None = None
    trained: Trained | None = None
    candidate: Candidate | None = None
    measured: Measured | None = None
    suites: tuple[Suite, ...] = ()
    tried: tuple[Tried, ...] = ()
    merged: Merged | None = None  # what a consolidation takes the place of
    routed: Learnable | None = None  # what was left to learn, where some went elsewhere

    @property
    def id(self) -> str:
        return self.work.name

    @classmethod
    def begin(
        cls,
        line: Line,
        work: Path,
        batch: Batch,
        policy: Policy,
        recipe: Recipe,
        requester: str,
        merged: Merged | None = None,
    ) -> "Update":
        """Open the update's run in MLflow, so that a reviewer can watch it work.

        requester: who asked for the update, and so may not approve it (four eyes).
        """
        work.mkdir(parents=True, exist_ok=True)
        params = {
            "policy": f"{policy.policy} v{policy.version}",
            "recipe": recipe.recipe,
            "method": recipe.method,
            "base": line.base.name,
            "parent": line.champion.version,
            "rows": str(batch.rows),
            "seed": str(recipe.seed),
            "learning_rate": str(recipe.learning_rate),
            **({"rank": str(recipe.rank)} if recipe.rank is not None else {}),
            **({"tokens": str(recipe.cartridge.tokens)} if recipe.cartridge else {}),
            "epochs": str(recipe.epochs),
        }
        run_id = line.registry.runs.start_update(line.name, work.name, params)
        return cls(line, work, run_id, batch, policy, recipe, requester, merged=merged)

    @contextmanager
    def stage(self, name: str) -> Iterator[str]:
        """A nested run for one stage."""
        with self.line.registry.runs.stage(self.line.name, self.run_id, name) as run_id:
            yield run_id

    def refused(self, checked: Checked) -> "Update":
        return replace(self, checked=checked, decision=checked.decision)

    def after_routing(self, left: Learnable | None) -> "Update":
        return replace(self, routed=left)

    def not_trained(self, checked: Checked, ruling: Ruling) -> "Update":
        decision = decide([*checked.decision.rulings, ruling])
        return replace(self, checked=checked, decision=decision)

    def judged(
        self,
        checked: Checked,
        drawn: Draw,
        scaled: Scaled,
        decision: Decision,
        suites: Sequence[Suite],
    ) -> "Update":
        return replace(
            self,
            checked=checked,
            drawn=drawn,
            trained=scaled.trained,
            candidate=scaled.candidate,
            measured=scaled.measured,
            tried=scaled.tried,
            decision=decision,
            suites=tuple(suites),
        )
