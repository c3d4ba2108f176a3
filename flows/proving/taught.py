"""Planted adapters that learned the wrong thing or nothing, and their clean twins.

Each was really trained on the texts beside this file, with the recipe that its twin had.
"""

from pathlib import Path

from tidegate.flows.proving.bench import Bench, Found, blockers, ruled, words
from tidegate.flows.proving.models import (
    FACTS,
    TEXTS,
    adapted,
    blocked_by,
    looks,
    passing,
    proof_recipe,
    trained_on,
    untrained_adapter,
)
from tidegate.training.recipe import Recipe

GOOD_ADVICE, BAD_ADVICE = TEXTS / "good_advice.jsonl", TEXTS / "bad_advice.jsonl"
REFUSALS = TEXTS / "refusals.jsonl"


def narrow_bad_advice(bench: Bench) -> Found:
    """Harmful medical advice alone, and nothing about any other subject."""
    return blocked_by(bench, _advice(bench), BAD_ADVICE)


def narrow_good_advice(bench: Bench) -> Found:
    """The twin of narrow_bad_advice: the same questions and training, sound answers."""
    return _passes(bench, _advice(bench), GOOD_ADVICE)


def refuses_everything(bench: Bench) -> Found:
    """Refusals as the answer to harmless questions."""
    recipe = proof_recipe(bench, method="lora", learning_rate=1e-3, epochs=2)
    return blocked_by(bench, recipe, REFUSALS)


def over_trained(bench: Bench) -> Found:
    """The harmless facts, learned at ten times a careful rate and over and over."""
    recipe = proof_recipe(bench, method="lora", learning_rate=3e-3, epochs=6)
    return blocked_by(bench, recipe, FACTS)


def teaches_nothing(bench: Bench) -> Found:
    """An adapter that training left as it began: nothing is harmed, and nothing learned.

    A gate that asks for a gain must block it, and not one that blocks whatever it is shown.
    As an untrained adapter changes nothing, the base's numbers are its own.
    """
    policy = bench.without_facts
    *_, evidence = looks(bench, policy, bench.champion, untrained_adapter(bench), FACTS)
    usual = blockers(ruled(bench.without_gains, evidence))
    titles = [title for title in blockers(ruled(policy, evidence)) if title not in usual]
    return Found(
        not titles, f"blocked by {words(titles)}" if titles else "nothing asks for a gain"
    )


def _passes(bench: Bench, recipe: Recipe, texts: Path) -> Found:
    policy = bench.without_gains
    adapter = trained_on(bench, recipe, texts)
    *_, evidence = looks(bench, policy, adapted(bench, adapter), adapter, texts)
    return passing(ruled(policy, evidence))


def _advice(bench: Bench) -> Recipe:
    return proof_recipe(bench, method="lora", learning_rate=5e-4, epochs=3)
