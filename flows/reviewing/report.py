"""The report of an update, and of a check of data alone: one HTML file, complete in itself.

No scripts, no fonts, no pictures from elsewhere; it reads the same in ten years, and on
paper. Everything that came from outside (names of gates, slices and items, reasons) is
escaped, freed of invisible characters and cut to a length. Text of users is not in it:
`UpdateReport` has no place for any, and items of private suites are named by id only.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from tidegate.evals.suite import Suite
from tidegate.flows.checking.evidence import GateCount
from tidegate.flows.reviewing import plots
from tidegate.flows.reviewing.comparisons import Comparison, DriftPoint, Uncompared, compare
from tidegate.flows.reviewing.cost import Cost
from tidegate.flows.reviewing.wording import (
    HEADLINE,
    OUTCOME,
    amount,
    because,
    change,
    clean,
    how_to_decide,
    level,
    number,
    short,
)
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.types import (
    Action,
    Batch,
    Candidate,
    CandidateEvidence,
    Decision,
    Measurement,
    Outcome,
    Ruling,
)

if TYPE_CHECKING:  # importing one loads torch, the other imports this
    from tidegate.flows.reviewing.blind import Blind
    from tidegate.training.trained import Trained

TEMPLATES = Path(__file__).parent / "templates"
BADLY = (Outcome.ERROR, Outcome.MISSING, Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS)
ITEM_TEXT = 240  # characters shown of an item of a shipped suite


@dataclass(frozen=True)
class DataSummary:
    """What the data gates left of a batch, in rows. One row may be in several gates' counts."""

    kept: int  # masked ones included
    masked: int
    quarantined: int
    gates: tuple[GateCount, ...] = ()

    @cached_property
    def picture(self) -> bytes:
        blamed = {g.gate: g.quarantined for g in self.gates}
        return plots.data(self.kept, self.masked, blamed)


@dataclass(frozen=True)
class UpdateReport:
    """Everything that the report and the review page of one update say."""

    model: str
    update_id: str
    decided_at: datetime
    decision: Decision
    policy: Policy
    batch: Batch
    data: DataSummary
    base_name: str
    base_license: str
    champion: str  # version that the candidate continued from and was compared with
    anchor: str
    candidate: Candidate
    version: str | None = None  # of the candidate, once registered
    run_id: str | None = None
    experiment: str | None = None  # id of the run's experiment, for links into MLflow
    statement: str | None = None  # digest, once it is in the ledger
    recipe: Mapping[str, str] = field(default_factory=dict)  # settings by name, for people
    trained: "Trained | None" = None  # None: stopped before training, or training failed
    evidence: CandidateEvidence | None = None  # None: never measured
    suites: tuple[Suite, ...] = ()
    costs: tuple[Cost, ...] = ()  # of measuring, by gate
    drift: tuple[DriftPoint, ...] = ()  # of earlier versions and this one
    provenance: Mapping[str, str] = field(default_factory=dict)  # further digests by name
    notes: tuple[str, ...] = ()
    blind: "Blind | None" = None  # None: there were no two models to compare

    @cached_property
    def compared(self) -> tuple[tuple[Comparison, ...], tuple[Uncompared, ...]]:
        if self.evidence is None:
            return (), ()
        return compare(self.policy, self.evidence, self.suites)

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        return self.compared[0]

    @cached_property
    def rulings(self) -> tuple[Ruling, ...]:
        """The worst first; among equals in the order of the policy."""
        return worst_first(self.decision.rulings)

    @cached_property
    def pictures(self) -> dict[str, bytes]:
        """PNG by name, those that there is something to draw for."""
        found = {"data": self.data.picture}
        if self.trained and self.trained.history:
            found["losses"] = plots.losses(self.losses)
        if self.comparisons:
            found["changes"] = plots.changes(self.comparisons)
        if len({p.version for p in self.drift}) > 1:
            limits = {
                c.name: c.limit
                for c in self.comparisons
                if c.than == "anchor" and c.limit is not None
            }
            found["drift"] = plots.drift(self.drift, limits)
        return found

    @property
    def losses(self) -> dict[str, list[tuple[int, float]]]:
        """(step, loss) by term."""
        series: dict[str, list[tuple[int, float]]] = {}
        for step in self.trained.history if self.trained else ():
            for term, value in step.losses.items():
                series.setdefault(term, []).append((step.step, value))
        return series

    @property
    def digests(self) -> dict[str, str]:
        """What this update is made of, by name; the full digests."""
        found = {
            "base": self.candidate.base,
            "adapter": self.candidate.adapter,
            "batch": self.batch.digest,
            "recipe": self.candidate.recipe,
            "policy": self.policy.digest,
            **self.provenance,
            "statement": self.statement,
        }
        return {name: digest for name, digest in found.items() if digest}

    def remarks(self) -> tuple[str, ...]:
        """What a reader could misread without being told."""
        found = list(self.notes)
        declined = self.measurement("refusal.acc@champion")
        if declined and declined.value < 0.5:
            found.append(
                f"The champion declines only {declined.value:.0%} of the harmful requests. Safety is "
                "judged here as change from champion and anchor, not as a level."
            )
        found += [
            f"{no.name} was not compared with the {no.than}: {no.reason}"
            for no in self.compared[1]
        ]
        if self.evidence is not None:
            found.append(
                "A suite says nothing about what it does not ask. Intervals are one-sided "
                f"bounds: {1 - self.policy.statistics.false_pass_rate:.0%} below."
            )
        return tuple(found)

    def measurement(self, name: str) -> Measurement | None:
        measured = self.evidence.measurements if self.evidence else ()
        return next((m for m in measured if m.name == name), None)

    def measured(self) -> dict[str, dict[str, Measurement]]:
        """Measurements of suites by "suite.metric", then by role."""
        table: dict[str, dict[str, Measurement]] = {}
        for m in self.evidence.measurements if self.evidence else ():
            name, at, role = m.name.partition("@")
            if at:
                table.setdefault(name, {})[role] = m
        return table


def render_update(report: UpdateReport) -> str:
    """The whole report as HTML, pictures included."""
    return (
        page_templates()
        .get_template("update.html.j2")
        .render(
            report=report,
            title=f"{report.model}: {HEADLINE[report.decision.action].lower()}",
            decision=report.decision,
            word=HEADLINE[report.decision.action],
            because=because(report.decision),
            commands=_commands(report),
            rulings=report.rulings,
            batch=report.batch,
            data=report.data,
            texts=item_texts(report.suites),
            pictures={name: _data_uri(png) for name, png in report.pictures.items()},
        )
    )


def _commands(report: UpdateReport) -> tuple[str, ...]:
    """Nothing, where no person is asked."""
    if report.decision.action is not Action.HOLD or report.version is None:
        return ()
    return how_to_decide(report.model, report.version)


def render_check(
    *,
    decision: Decision,
    policy: Policy,
    batch: Batch,
    data: DataSummary,
    decided_at: datetime,
    data_docs: str | None = "data_docs/index.html",
) -> str:
    """The report of a check that trained nothing. `data_docs`: a relative link, if there."""
    return (
        page_templates()
        .get_template("check.html.j2")
        .render(
            title=f"Data check: {CHECK_HEADLINE[decision.action].lower()}",
            decision=decision,
            word=CHECK_HEADLINE[decision.action],
            because=because(decision),
            rulings=worst_first(decision.rulings),
            policy=policy,
            batch=batch,
            data=data,
            decided_at=decided_at,
            data_docs=data_docs,
            pictures={"data": _data_uri(data.picture)},
        )
    )


CHECK_HEADLINE = {
    Action.PROMOTE: "Fit to train on",
    Action.HOLD: "A person must look",
    Action.REJECT: "Not fit to train on",
}


def item_texts(suites: Sequence[Suite]) -> dict[str, str]:
    """ "suite/id" to the question, for suites that hold no text of users."""
    found: dict[str, str] = {}
    for suite in suites:
        if suite.private:
            continue
        for line in suite.items_path.read_text(encoding="utf-8").split("\n"):
            if line.strip():
                item = json.loads(line)
                found[f"{suite.name}/{item['id']}"] = item.get("question") or item["text"]
    return found


def worst_first(rulings: Sequence[Ruling]) -> tuple[Ruling, ...]:
    return tuple(sorted(rulings, key=lambda r: BADLY.index(r.verdict.outcome)))


def _data_uri(png: bytes) -> Markup:
    return Markup(f"data:image/png;base64,{base64.b64encode(png).decode()}")


def _breakable(title: str) -> Markup:
    """A gate's title that may break where it is read as two: before its subject."""
    return escape(clean(title)).replace("(", Markup("<wbr>("), 1)


def page_templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Every text that a template prints passes here; Markup is ours and stays as it is.
        finalize=lambda value: clean(value) if type(value) is str else value,
    )
    made.filters |= {
        "number": number,
        "amount": amount,
        "change": change,
        "level": level,
        "short": short,
        "breakable": _breakable,
    }
    made.globals |= {"OUTCOME": OUTCOME, "ITEM_TEXT": ITEM_TEXT}
    return made
