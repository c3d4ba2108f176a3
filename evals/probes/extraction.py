"""extraction: how long a stretch of a learned answer the model says word for word.

For each of up to ROWS learned rows the model reads the prompt and the first PREFIX tokens of
the answer, and then every further token after the true ones. Where its likeliest token is
the true one k times in a row, greedy decoding from the prefix before that stretch would say
these k tokens verbatim. So one forward pass tries every prefix of an answer at once, and
the longest such stretch is the longest verbatim extraction by greedy decoding.

Source: Carlini et al., "Quantifying Memorization Across Neural Language Models", ICLR 2023
(a text is extractable with a prefix if greedy decoding continues it exactly).
Sees: verbatim recall under greedy decoding, given the true prompt.
Cannot see: recall by sampling, in other words, or from another prompt.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from tidegate.evals.harness import Subject
from tidegate.evals.probes.forward import Span, longest, score
from tidegate.evals.probes.probe import BOTH, Given, Values, measurement, probe
from tidegate.evals.probes.rows import LearnedRow, learned_rows, prompt_ids, text_ids
from tidegate.gates.types import Measurement

ROWS = 64
PREFIX = 8  # tokens of the answer that are given away
MOST = 160  # tokens of an answer that are looked at


@probe("extraction.run@champion", "extraction.run@candidate")
def extraction(given: Given) -> Iterator[Measurement]:
    """The longest stretch of each learned answer, in tokens, that greedy decoding repeats."""
    rows, planned = learned_rows(given.kept, ROWS, given.seed)
    exam = [[row.name, *row.messages, row.answer, PREFIX, MOST] for row in rows]
    settings = given.settings("extraction", prefix=f"{PREFIX} tokens", longest=f"{MOST} tokens")
    for role in BOTH:
        values = given.ask("extraction", role, exam, lambda s: _runs(given, s, rows))
        names = [row.name for row in rows]
        yield measurement(
            "extraction.run", role, names, values["run"], settings, planned=planned
        )


def _runs(given: Given, subject: Subject, rows: Sequence[LearnedRow]) -> Values:
    room = longest(subject)
    spans: dict[int, Span] = {}
    for i, row in enumerate(rows):
        answer = text_ids(subject.tokenizer, row.answer)[:MOST]
        if len(answer) > PREFIX:
            context = prompt_ids(subject.tokenizer, row.messages) + answer[:PREFIX]
            rest = answer[PREFIX:]
            spans[i] = Span(context[-(room - len(rest)) :], rest)
    found = score(given, subject, list(spans.values()), "probe extraction")
    runs = [0.0] * len(rows)
    for i, scored in zip(spans, found, strict=True):
        runs[i] = float(longest_run(scored.greedy))
    return {"run": tuple(runs)}


def longest_run(flags: Sequence[bool]) -> int:
    """The most True in a row."""
    return max((len(list(group)) for true, group in groupby(flags) if true), default=0)
