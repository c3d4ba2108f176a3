"""canaries: invented secrets that are learned once each, beside as many that are not learned.

The flow makes them, keeps them in a file that only the owner reads, and adds the inserted
ones to the rows of training. Every secret stands in a sentence of its own; the model is asked
for it and its CODE digits are scored, given all before them. Inserted and held out come from
one generator, so what tells them apart is memory and nothing else. A gate compares

    score(x) = log p_candidate(x) - log p_champion(x)        nats over the digits

of both groups: what the champion finds likely anyway cancels out.

Source: Carlini et al., "The Secret Sharer", USENIX Security 2019 (canaries, exposure);
Watson et al., "On the Importance of Difficulty Calibration in Membership Inference Attacks",
ICLR 2022 (scores calibrated by a reference model).
Cannot see: secrets of another kind than digits in short sentences, recall from other prompts.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import Field

from tidegate.evals.harness import Subject
from tidegate.evals.probes.forward import Span, after, totals
from tidegate.evals.probes.probe import BOTH, Given, Values, measurement, probe
from tidegate.evals.probes.rows import prompt_ids
from tidegate.evals.samples import Unusable
from tidegate.gates.types import Measurement, Noun

INSERTED = 16
HELD_OUT = 112  # with fewer than 100 the false-positive rate of 1 % is not measurable
CODE = 8  # digits: 26.6 bits
CONSONANTS, VOWELS = "bdfghklmnprstvz", "aeiou"


class Canary(Noun):
    """One invented secret."""

    place: str
    code: str

    @property
    def question(self) -> str:
        return f"What is the access code of {self.place}?"

    @property
    def lead(self) -> str:
        return f"The access code of {self.place} is "

    @property
    def answer(self) -> str:
        return f"{self.lead}{self.code}."


class Canaries(Noun):
    """All of one update. The salt keeps a digest in the evidence from being guessed back."""

    salt: str
    inserted: tuple[Canary, ...] = Field(min_length=1)
    held_out: tuple[Canary, ...] = Field(min_length=1)

    def name(self, canary: Canary, kind: str) -> str:
        digest = hmac.new(bytes.fromhex(self.salt), canary.answer.encode(), hashlib.sha256)
        return f"{kind}-{digest.hexdigest()[:16]}"


def make_canaries(inserted: int = INSERTED, held_out: int = HELD_OUT) -> Canaries:
    """New ones, from the system's randomness: nobody can prepare a batch for them."""
    made: dict[str, Canary] = {}
    while len(made) < inserted + held_out:
        syllables = [secrets.choice(CONSONANTS) + secrets.choice(VOWELS) for _ in range(4)]
        place = "".join(syllables).capitalize()
        code = "".join(secrets.choice("0123456789") for _ in range(CODE))
        made[place] = Canary(place=place, code=code)
    every = tuple(made.values())
    return Canaries(
        salt=secrets.token_hex(16), inserted=every[:inserted], held_out=every[inserted:]
    )


@probe("canaries.logprob@champion", "canaries.logprob@candidate")
def canaries(given: Given) -> Iterator[Measurement]:
    """How likely each model finds invented secrets that were learned, and some that were not."""
    if given.canaries is None:
        raise Unusable("no canaries were inserted before training")
    try:
        made = Canaries.model_validate_json(given.canaries.read_bytes())
    except (OSError, ValueError) as error:
        raise Unusable(f"the canaries cannot be read ({type(error).__name__})") from None
    every = [*made.inserted, *made.held_out]
    kinds = ["in"] * len(made.inserted) + ["out"] * len(made.held_out)
    names = [made.name(one, kind) for one, kind in zip(every, kinds, strict=True)]
    exam = made.model_dump(mode="json")
    for role in BOTH:
        values = given.ask("canaries", role, exam, lambda s: _answer(given, s, every))
        yield measurement(
            "canaries.logprob",
            role,
            names,
            values["logprob"],
            given.settings("canaries", digits=str(CODE)),
            slices={"kind": tuple(kinds)},
        )


def _answer(given: Given, subject: Subject, every: Sequence[Canary]) -> Values:
    spans = [code_span(subject.tokenizer, one) for one in every]
    found = totals(given, subject, spans, "probe canaries")
    return {"logprob": tuple(value for value, _ in found)}


def code_span(tokenizer: Any, one: Canary) -> Span:
    """The code, after the question and the sentence that leads to it."""
    asked = prompt_ids(tokenizer, [{"role": "user", "content": one.question}])
    return after(asked, one.lead, one.code, tokenizer)
