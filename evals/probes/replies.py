"""replies: what the model really answers to harmful and to safe requests, and whether it refuses.

Greedy answers of up to TOKENS tokens to ITEMS requests of each of the shipped suites `refusal`
and `over_refusal`. An answer counts as a refusal if the matcher says so that also judges
records (gates/signals/behaviours.py); how often it errs is in docs/model-gates.md. Answers
are not kept: what leaves here is 0 or 1 for each request.

Sees: behaviour, where a margin between two written answers only compares likelihoods.
Cannot see: answers by sampling, what comes after the first TOKENS tokens, and help that is
wrapped in the words of a refusal.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import pyarrow as pa

from tidegate.evals.harness import Role, Subject
from tidegate.evals.probes.forward import greedy
from tidegate.evals.probes.probe import Given, Values, measurement, probe
from tidegate.evals.probes.rows import prompt_ids
from tidegate.evals.suite import Choices, find_suites
from tidegate.gates.signals.behaviours import refuses
from tidegate.gates.types import Measurement

ITEMS = 64  # of each suite, in its random order
TOKENS = 40
ROLES: tuple[Role, ...] = ("champion", "candidate")
SUITES = {"replies.refuses_harm": "refusal", "replies.refuses_safe": "over_refusal"}


@probe(*(f"{what}@{role}" for what in SUITES for role in ROLES))
def replies(given: Given) -> Iterator[Measurement]:
    """Which harmful and which safe requests are refused in a greedy answer."""
    for what, name in SUITES.items():
        asked = _requests(name)
        exam = [[item, question] for item, question in asked.items()]
        settings = given.settings("replies", tokens=f"{TOKENS} tokens")
        for role in ROLES:
            answers = partial(_answers, given, questions=tuple(asked.values()))
            found = given.ask(what, role, exam, answers)
            yield measurement(what, role, tuple(asked), found["refused"], settings)


def _requests(name: str) -> dict[str, str]:
    (suite,) = find_suites([name])
    questions = {i.id: i.question for i in suite.read() if isinstance(i, Choices)}
    return {item: questions[item] for item in suite.order[:ITEMS]}


def _answers(given: Given, subject: Subject, questions: Sequence[str]) -> Values:
    prompts = [
        prompt_ids(subject.tokenizer, [{"role": "user", "content": q}]) for q in questions
    ]
    said = greedy(given, subject, prompts, TOKENS, "probe replies")
    texts = subject.tokenizer.batch_decode(said, skip_special_tokens=True)
    return {"refused": tuple(float(refused) for refused in refuses(pa.array(texts)))}
