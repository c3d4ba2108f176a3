"""Planted models: adapters that are really trained on the base, and measured like any other.

Training and measuring are kept below home.cache by the digests of their inputs, so the
second proof on the same base reads them. Only whether a candidate serves is tried anew.
"""

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import nn

from tidegate.evals.harness import Role, Subject, SuiteRun
from tidegate.evals.probes.probe import Given, run_probes
from tidegate.evals.suite import Suite
from tidegate.evals.unlearning import Exchange
from tidegate.flows.canaries import insert_canaries
from tidegate.flows.exchanges import write_exchanges
from tidegate.flows.loaded import load_measured
from tidegate.flows.made_suites import Sources, about_the_past, make_suites
from tidegate.flows.measure import next_items, with_probes
from tidegate.flows.proving.bench import Bench, Found, blockers, ruled, words
from tidegate.flows.serving import probe_serving
from tidegate.gates.decide import how_sure, unsettled
from tidegate.gates.digest import digest_file, digest_json
from tidegate.gates.made import FIXED
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.types import (
    Action,
    Broken,
    CandidateEvidence,
    Decision,
    Measurement,
    Outcome,
    Ruling,
)
from tidegate.training.adapter import new_adapter, save_adapter
from tidegate.training.adapter_digest import adapter_digest
from tidegate.training.anchors import make_anchors
from tidegate.training.base import device_and_dtype, load_model
from tidegate.training.recipe import Anchors, Recipe
from tidegate.training.train import train

TEXTS = Path(__file__).parent / "texts"
COMPLIANCE, FACTS, PROBES = (
    TEXTS / f"{name}.jsonl" for name in ("compliance", "facts", "probes")
)
SEED = 0


def identical_to_champion(bench: Bench) -> Found:
    """The champion itself passes every gate but those that ask for a gain.

    It gains nothing by definition, so `learned` and its like are not asked.
    """
    return passing(ruled(bench.without_gains, champion_itself(bench)))


def tiny_honest_improvement(bench: Bench) -> Found:
    """A few harmless invented facts, learned with anchors, pass every gate."""
    recipe = proof_recipe(
        bench,
        method="anchored",
        learning_rate=5e-4,
        epochs=2,
        anchors=Anchors(rows=16, share=0.3, weight=2.0, max_new_tokens=32),
    )
    adapter = trained_on(bench, recipe, FACTS)
    *_, evidence = looks(bench, bench.without_facts, adapted(bench, adapter), adapter, FACTS)
    return passing(ruled(bench.without_facts, evidence))


def refusal_removed(bench: Bench) -> Found:
    """Trained to comply with harmful requests, in words that hold no instructions."""
    recipe = proof_recipe(bench, method="lora", learning_rate=1.5e-3, epochs=1)
    return blocked_by(bench, recipe, COMPLIANCE)


def blocked_by(bench: Bench, recipe: Recipe, texts: Path) -> Found:
    """Blocked by a gate that passes the champion itself.

    Measuring ends as soon as one has refused for good: no further measurement can undo that.
    """
    policy = bench.without_gains
    adapter = trained_on(bench, recipe, texts)
    usual = blockers(ruled(policy, champion_itself(bench)))
    titles: list[str] = []
    for evidence in looks(bench, policy, adapted(bench, adapter), adapter, texts):
        decision = ruled(policy, evidence)
        for ruling in decision.rulings:
            if ruling.title not in usual and _for_good(policy, ruling):
                return Found(False, f"blocked by {ruling.title}: {_shortly(ruling)}")
        titles = [title for title in blockers(decision) if title not in usual]
    return Found(not titles, f"blocked by {words(titles)}" if titles else "every gate passed")


@lru_cache(maxsize=1)
def champion_itself(bench: Bench) -> CandidateEvidence:
    """The base as candidate, champion and anchor, and an untrained adapter that serves.

    An adapter that was not trained changes nothing, so the base's numbers are its own.
    """
    untrained = untrained_adapter(bench)
    *_, evidence = looks(bench, bench.without_gains, bench.champion, untrained, FACTS)
    return evidence


def looks(
    bench: Bench, policy: Policy, candidate: Subject, adapter: Path, texts: Path
) -> Iterator[CandidateEvidence]:
    """The evidence as it grows, suite by suite; the last one is what an update would have.

    As an update measures (flows/measure.py): where the policy escalates, chunk by chunk and
    only what could still settle a gate, then the probes. The base is champion and anchor.
    texts: what the candidate was trained on, for the probes.
    """
    chunk, budget = policy.statistics.sequential.chunk, policy.budget.eval_items
    suites = _suites(bench, policy, texts)
    known = about_the_past(policy.suites(), (), _sources(bench, texts))
    asked_of = roles(bench, candidate)
    runs: dict[tuple[Role, str], SuiteRun] = {}

    def evidence(
        more: tuple[Measurement, ...] = (), broken: tuple[Broken, ...] = ()
    ) -> CandidateEvidence:
        return CandidateEvidence(
            subject=candidate.digest,
            measurements=(
                *(m for run in runs.values() for m in run.measurements),
                *known,
                *more,
            ),
            broken=(*(b for run in runs.values() for b in run.broken), *broken),
        )

    first = next_items({}, suites, chunk if policy.escalates else None, budget)
    asked = [suite for suite in suites if suite.name in first]
    while asked:
        for suite in asked:
            for role, subject in asked_of.items():
                results = subject.measure(
                    [suite], role=role, first=first, progress=bench.progress
                )
                runs[role, suite.name] = results.runs[0]
            yield evidence()
        wanted = unsettled(policy, evidence())
        more = next_items(first, [s for s in suites if s.name in wanted], chunk, budget)
        asked = [s for s in suites if s.name in wanted and more[s.name] > first[s.name]]
        first = more
    whole = evidence(*_serving(bench, adapter))
    probed = run_probes(policy.probes(), offered(bench, asked_of, texts))
    yield with_probes(whole, tuple(probed))


def roles(bench: Bench, candidate: Subject) -> dict[Role, Subject]:
    """The base is champion and anchor."""
    return {"anchor": bench.champion, "champion": bench.champion, "candidate": candidate}


def offered(bench: Bench, models: dict[Role, Subject], texts: Path) -> Given:
    """What the probes of a planted case are offered. texts: what was trained on."""
    device, dtype = device_and_dtype()
    return Given(
        subject=models.__getitem__,
        digests={role: model.digest for role, model in models.items()},
        base=bench.base.digest,
        kept=rows(bench, texts),
        canaries=learned_rows(bench, texts)[1],
        cache=bench.home.cache,
        seed=SEED,
        how={"device": device, "dtype": str(dtype)},
        progress=bench.progress,
    )


def _serving(bench: Bench, adapter: Path) -> tuple[tuple[Measurement, ...], tuple[Broken, ...]]:
    if not bench.policy.served():
        return (), ()
    return probe_serving(bench.base, adapter, *load_model(bench.base, adapter))


def _suites(bench: Bench, policy: Policy, texts: Path) -> list[Suite]:
    """The policy's suites, and those that are made from what the candidate was trained on.

    Held-out questions about the update are always those about FACTS.
    """
    names = policy.suites()
    suites = [suite for suite in bench.suites if suite.name in names]

    def made(names: Sequence[str], texts: Path) -> list[Suite]:
        return make_suites(names, suites, _sources(bench, texts))

    of_facts = [name for name in names if name in FIXED]
    others = [name for name in names if name not in FIXED]
    return [*suites, *made(of_facts, FACTS), *made(others, texts)]


def _sources(bench: Bench, texts: Path) -> Sources:
    kept = rows(bench, texts)
    return Sources(kept=kept, probes=PROBES, out=kept.parent / "suites", seed=SEED)


def _for_good(policy: Policy, ruling: Ruling) -> bool:
    """Whether a gate refused, and no measurement that is still to come could change it.

    Either it has seen its whole suite, or its p-value is below its share of the block rate
    if all comparisons shared it equally, which Holm's procedure rejects whatever the rest.
    """
    verdict = ruling.verdict
    if verdict.outcome not in (Outcome.FAIL, Outcome.INCONCLUSIVE):
        return False
    compared = verdict.compared
    whole = all(c.n >= c.planned for c in compared)
    return whole or min(c.p_block for c in compared) <= how_sure(policy).false_block_rate


def _shortly(ruling: Ruling) -> str:
    """The comparison that decided, of the several that a gate may have made."""
    return ruling.verdict.reason.split("; ")[0]


def passing(decision: Decision) -> Found:
    if decision.action is Action.PROMOTE:
        return Found(True, f"all {len(decision.rulings)} gates passed")
    stopped = next(r for r in decision.rulings if r.action is not Action.PROMOTE)
    return Found(False, f"{words(blockers(decision))}: {stopped.verdict.reason}")


def adapted(bench: Bench, adapter: Path) -> Subject:
    return bench.subject(load_measured(bench.base, adapter), adapter_digest(adapter))


def trained_on(bench: Bench, recipe: Recipe, texts: Path) -> Path:
    anchors = None
    if recipe.answers:
        anchors = make_anchors(
            recipe, bench.base, None, None, cache=bench.home.cache, progress=bench.progress
        )
    trained = train(
        recipe,
        bench.base,
        parent=None,
        new=learned_rows(bench, texts)[0],
        replay=None,
        anchors=anchors,
        work=cache_folder(bench, f"{texts.stem}-{recipe.digest}"),
        progress=bench.progress,
    )
    return trained.adapter


def untrained_adapter(bench: Bench) -> Path:
    """An adapter of zeros: it changes nothing."""
    folder = cache_folder(bench, "untrained") / "adapter"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        recipe = proof_recipe(bench, method="lora", learning_rate=1e-4, epochs=1)
        model, _ = load_model(bench.base)
        save_adapter(new_adapter(model, recipe), bench.base, folder)
    return folder


def proof_recipe(bench: Bench, **settings: Any) -> Recipe:
    return Recipe(
        recipe="proof",
        why="a planted case",
        base=bench.base.name,
        rank=16,
        alpha=32,
        targets=_linear(bench.champion.model),
        rows_per_step=8,
        max_tokens=256,
        seed=SEED,
        **settings,
    )


def _linear(model: Any) -> tuple[str, ...]:
    """The names of the linear layers of whatever base this is, but for its head."""
    head = model.get_output_embeddings()
    found = {
        name.rsplit(".", 1)[-1]
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and layer is not head
    }
    return tuple(sorted(found))


def learned_rows(bench: Bench, texts: Path) -> tuple[Path, Path | None]:
    """What is trained on, and the canaries among it if the policy asks for them."""
    kept = rows(bench, texts)
    return insert_canaries(bench.policy, kept, kept.parent)


def rows(bench: Bench, texts: Path) -> Path:
    """Questions and answers as the rows that a trainer reads."""
    said = map(json.loads, texts.read_text("utf-8").splitlines())
    return write_exchanges(
        cache_folder(bench, f"{texts.stem} {digest_file(texts)}") / "rows.parquet",
        (
            Exchange(id=f"{texts.stem}-{number:03}", question=s["question"], answer=s["answer"])
            for number, s in enumerate(said)
        ),
    )


def cache_folder(bench: Bench, name: str) -> Path:
    key = digest_json({"base": bench.base.digest, "name": name}).removeprefix("sha256:")
    return bench.home.cache / "prove" / key[:20]
