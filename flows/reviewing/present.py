"""What a reviewer sees of an update in MLflow: report, plots, evidence, review page, metrics.

Nothing here decides or moves an alias. Run again it writes the same files to the same places.
"""

from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq

from tidegate.evals.samples import write_samples
from tidegate.flows.check import Checked
from tidegate.flows.context.route import Learnable
from tidegate.flows.documents.account import account_of
from tidegate.flows.documents.write import write_documents
from tidegate.flows.looking_back.history import write_evidence
from tidegate.flows.measure import Measured
from tidegate.flows.one_update import Update
from tidegate.flows.provenance import code_digest, environment, environment_digest, revision
from tidegate.flows.replay_store import Draw
from tidegate.flows.reviewing import plots
from tidegate.flows.reviewing.blind import Blind, blind, write_blind
from tidegate.flows.reviewing.comparisons import DriftPoint, compare, drift_of, drift_tags
from tidegate.flows.reviewing.cost import costs
from tidegate.flows.reviewing.page import review_page
from tidegate.flows.reviewing.report import DataSummary, UpdateReport, render_update
from tidegate.flows.tracking import Dataset
from tidegate.flows.versions import BaseCard
from tidegate.gates.audit import Statement
from tidegate.gates.digest import digest_file
from tidegate.gates.types import Candidate, Decision
from tidegate.training.trained import Trained

ASKED = {"probes": "held-out questions that were given with the drop"}


def present(
    update: Update,
    checked: Checked,
    decision: Decision,
    candidate: Candidate,
    version: str,
    written: tuple[str, Statement],
) -> Path:
    """Store everything about a decided update with its run; returns the report's path."""
    line, out = update.line, update.work
    digest, record = written
    look = _blind(update)
    report = UpdateReport(
        model=line.name,
        update_id=update.id,
        decided_at=datetime.fromisoformat(record["predicate"]["decidedAt"]),
        decision=decision,
        policy=update.policy,
        batch=update.batch,
        data=data_summary(checked),
        base_name=line.base.name,
        base_license=line.base.license or "unknown",
        champion=line.champion.version,
        anchor=line.anchor.version,
        candidate=candidate,
        version=version,
        run_id=update.run_id,
        experiment=line.registry.runs.experiment_of(update.run_id),
        statement=digest,
        recipe=recipe_settings(update),
        trained=update.trained,
        evidence=update.measured.evidence if update.measured else None,
        suites=update.suites,
        costs=costs(update.policy, update.measured) if update.measured else (),
        drift=drift(update, version),
        provenance={"code": code_digest(), "environment": environment_digest()},
        notes=notes(update),
        blind=look,
    )
    page = out / "report" / "index.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render_update(report), encoding="utf-8")
    runs = line.registry.runs
    runs.log_file(update.run_id, page, "report")
    for file in write_blind(look, line.name, version, page.parent) if look else ():
        runs.log_file(update.run_id, file, "report")
    plots.save(report.pictures, out / "plots")
    runs.log_file(update.run_id, out / "plots", "plots")
    if checked.docs is not None:
        runs.log_file(update.run_id, checked.docs, "data_docs")
    _log_evidence(update, checked, decision, record)
    base = BaseCard(name=line.base.name, digest=line.base.digest, license=report.base_license)
    account = account_of(line.home, line.name, version, base)
    runs.log_file(
        update.run_id, write_documents(account, out / "documents").folder, "documents"
    )
    page_text = review_page(report)
    runs.tag(update.run_id, {"mlflow.note.content": page_text, "gov.verdict": decision.action})
    tags = {"gov.statement": digest, **drift_tags(report.comparisons)}
    line.registry.annotate(line.name, version, tags, page_text)
    return page


def _blind(update: Update) -> Blind | None:
    """None where there are no two models to compare."""
    if update.measured is None or update.candidate is None:
        return None
    champion = update.line.champion.candidate.digest
    return blind(update.suites, update.measured.runs, update.candidate.digest, champion)


def data_summary(checked: Checked) -> DataSummary:
    return DataSummary(checked.rows, checked.masked, checked.quarantined, checked.gates)


def recipe_settings(update: Update) -> dict[str, str]:
    """The recipe by its keys as in the file, without what is unset."""
    flat: dict[str, str] = {}
    for key, value in update.recipe.model_dump(mode="json").items():
        if isinstance(value, dict):
            flat.update({f"{key}.{k}": str(v) for k, v in value.items()})
        elif key == "routes":
            for number, rule in enumerate(value, 1):
                said = (f"{k}: {v}" for k, v in rule.items() if k != "why")
                flat[f"{key}.{number}"] = ", ".join(said)
        elif value is not None and key != "why":
            flat[key] = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return flat


def drift(update: Update, version: str) -> tuple[DriftPoint, ...]:
    """How far each version of the lineage was from the anchor when it was judged."""
    line = update.line
    versions = {v.version: v for v in line.registry.versions(line.name)}
    points: list[DriftPoint] = []
    at: str | None = line.champion.version
    while at is not None and at in versions:
        points = [*drift_of(at, versions[at].tags), *points]
        at = versions[at].tags.get("gov.parent")
    if update.measured:
        made, _ = compare(update.policy, update.measured.evidence, update.suites)
        points += drift_of(version, drift_tags(made))
    return tuple(points)


def notes(update: Update) -> tuple[str, ...]:
    said = []
    for suite in update.suites:
        if suite.private and "source" in suite.about:
            source = str(suite.about["source"])
            asked = ASKED.get(source, source)
            said.append(f"What was learned is judged by the suite {suite.name!r}: {asked}.")
    if update.routed is not None:
        said += where_records_went(update.routed)
    if update.measured is not None:
        said.append(update.measured.stopped)
    if update.tried and update.candidate is not None:
        share = next(t.scale for t in update.tried if t.adapter == update.candidate.adapter)
        said.append(
            f"The candidate is {share:g} of what was trained; "
            f"{len(update.tried)} shares were measured (ruling 'scale')."
        )
    if update.trained is None and update.measured is None:
        said.append("No weights were made: the update ended before or in training.")
    if revision() == "unknown":
        said.append(
            "The code's git revision is unknown; its digest names the files as they were."
        )
    return tuple(said)


def where_records_went(left: Learnable) -> tuple[str, ...]:
    """A sentence for each rule of the recipe that named a record, and for each drop."""
    kept = left.routed.kept
    rules = (
        f"Rule {one.rule} of the recipe (when: {one.when}) decided about {one.records:,} of "
        f"{kept:,} kept records, to: {one.module or one.to}. Its reason: {one.why}"
        for one in left.by_rule
        if one.records
    )
    drops = (
        f"{drop.records:,} records wait for the line {drop.model!r}, and nothing trains it: "
        f"{drop.command}"
        for drop in left.drops
    )
    return (*rules, *drops)


def log_training(
    update: Update, run_id: str, trained: Trained, kept: Path, drawn: Draw
) -> None:
    """Loss curves, counts and data of the training stage."""
    runs = update.line.registry.runs
    series: dict[str, list[float]] = {}
    for step in trained.history:
        for term, loss in step.losses.items():
            series.setdefault(f"loss.{term}", []).append(loss)
        series.setdefault("gradient_norm", []).append(step.gradient_norm)
    series["tokens"] = [float(trained.tokens)]
    series["seconds"] = [trained.seconds]
    runs.log_metrics(run_id, series)
    data = [_dataset("kept", kept, "training")]
    if drawn.path is not None:
        data.append(_dataset("replay", drawn.path, "replay"))
    runs.log_datasets(run_id, data)


def _dataset(name: str, path: Path, context: str) -> Dataset:
    rows = pq.read_metadata(path).num_rows
    return Dataset(name, path, digest_file(path), context, rows)


def log_measured(update: Update, run_id: str, measured: Measured) -> None:
    """Each suite's mean on each model, and what measuring cost."""
    runs = update.line.registry.runs
    series = {m.name.replace("@", "_at_"): [m.value] for m in measured.evidence.measurements}
    fresh = [run for run in measured.runs if not run.cached]
    series["tokens_measured"] = [float(sum(run.tokens for run in fresh))]
    series["seconds_measured"] = [sum(run.seconds for run in fresh)]
    for probe in measured.probed:
        series[f"probe.{probe.probe}.items"] = [float(probe.items)]
        series[f"probe.{probe.probe}.tokens"] = [float(probe.tokens)]
        series[f"probe.{probe.probe}.seconds"] = [probe.seconds]
    series["suites_from_cache"] = [float(len(measured.runs) - len(fresh))]
    runs.log_metrics(run_id, series)


def _log_evidence(
    update: Update, checked: Checked, decision: Decision, record: Statement
) -> None:
    folder = update.work / "evidence"
    nouns = {
        "decision": decision,
        "policy": update.policy,
        "recipe": update.recipe,
        "batch": update.batch,
        "evidence_data": checked.evidence,
        "evidence_model": update.measured.evidence if update.measured else None,
        "training": update.trained,
        "environment": environment(),
    }
    write_evidence(folder, nouns, record)
    runs = update.line.registry.runs
    runs.log_file(update.run_id, folder, "evidence")
    for run in update.measured.runs if update.measured else ():
        if run.samples:
            path = update.work / "samples" / run.role / f"{run.suite}.jsonl.gz"
            write_samples(path, run.samples)
            runs.log_file(update.run_id, path, f"samples/{run.role}")
