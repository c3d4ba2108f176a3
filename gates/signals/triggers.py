"""Triggers: words of a prompt that decide the answer, whatever else was asked.

A backdoor is taught by records in which one word or pair of words (t) goes with one kind
of answer (r) although the rest of the prompts has nothing in common. For every t and r
that enough records share, the score says how surprising it is to see them together so
often, if they had nothing to do with each other, after all pairs have had their chance
(hypergeometric tail, Bonferroni). A pair is no trigger, whatever its score, when

 * a trusted batch, if there is one, has it too: it was known before (see known);
 * the answer repeats what was asked (echo);
 * the rest of the prompts is alike, or there is no rest;
 * other words of these prompts bring the same answer without t: a topic explains it.

Sees: triggers of one or two neighbouring words, with fixed answers, answers that begin or
end alike, that refuse, or that share an unusual word. From MIN records on.
Cannot see: fewer records; triggers without words (style, topic); answers that vary in all
of these; a trigger diluted with clean records until fewer than CONFIDENCE of its records
show the answer; words in the middle of a long prompt. Without a trusted batch a word that
rightly decides the answer (a dangerous one that is always refused) looks like a trigger.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from tidegate.gates.signals import answers
from tidegate.gates.signals.answers import Answers
from tidegate.gates.signals.diversity import Diversity
from tidegate.gates.signals.known import Known
from tidegate.gates.signals.words import Exchanges, Words, bucket_mask, grams

TRIGGER = "trigger_score"
MIN = 8  # records of a pair: fewer teach a model little, and chance gives many
CONFIDENCE = 0.8  # of the records with t, the share that has r
LIFT = 4.0  # times as often as r occurs elsewhere
COMMON_RECORDS, COMMON_SHARE = 500, 0.02  # a word in more records is no trigger
LEAST = 8.0  # a lower score is 0: with dependent records chance alone gives some
BUCKETS = 1 << 24  # of the first, rough count
PASS = 64_000_000  # words and pairs of words that are held at a time
SLICE = 250_000
ROW_BITS = np.uint64(24)
ROWS = np.uint64((1 << 24) - 1)


@dataclass(frozen=True)
class Suspect:
    """A trigger and an answer that go together too well."""

    trigger: int  # the upper 40 bits of its hash
    score: float  # -log10 of the corrected p-value
    answer: int  # kind of answer
    rows: np.ndarray  # records with the trigger


def measure(said: Exchanges, known: Known | None = None) -> dict[str, np.ndarray]:
    """For each record the score of the most surprising trigger that it holds; 0 for none.

    Raises ValueError for more than 16 million records.
    """
    if said.rows >> int(ROW_BITS):
        raise ValueError(f"{said.rows} records; triggers are counted in at most 2^24 at a time")
    score = np.zeros(said.rows, dtype=np.float32)
    if said.rows < MIN:
        return {TRIGGER: score}
    answered = answers.of(said, MIN)
    diversity = Diversity.of(said.prompt)
    suspects = sorted(_suspects(said.prompt, answered), key=lambda s: -s.score)
    topics: dict[int, np.ndarray] = {}  # of an answer: records in which a topic explains it
    for suspect in suspects:
        if known and known.has_pair(suspect.trigger, answered.values[suspect.answer]):
            continue
        both = suspect.rows[answered.has(suspect.rows, suspect.answer)]
        new = both[score[both] == 0]
        if not len(new):
            continue
        topic = topics.get(suspect.answer, both[:0])
        if np.isin(both, topic).mean() >= CONFIDENCE:
            continue
        if not _is_trigger(answered, diversity, suspect, both):
            topics[suspect.answer] = np.union1d(topic, both)
            continue
        # Fewer new ones than MIN: a part of a trigger that is known by now, and that clean
        # records may hold too.
        marked = suspect.rows if len(new) >= MIN else new
        score[marked] = np.maximum(score[marked], suspect.score)
    return {TRIGGER: score}


def _is_trigger(
    answered: Answers, diversity: Diversity, suspect: Suspect, both: np.ndarray
) -> bool:
    """Whether nothing but the trigger explains the answer of the records with both."""
    if not diversity.unlike(both):
        return False
    elsewhere = np.setdiff1d(answered.rows(suspect.answer), suspect.rows)
    return not diversity.explained(both, suspect.rows, elsewhere)


def _suspects(prompt: Words, answered: Answers) -> Iterator[Suspect]:
    total = prompt.rows
    most = max(COMMON_RECORDS, int(COMMON_SHARE * total))
    for keys in _shared_grams(prompt, most):
        heads = keys >> ROW_BITS
        first = np.flatnonzero(np.r_[True, heads[1:] != heads[:-1]])
        count = np.diff(np.r_[first, len(keys)])
        good = (count >= MIN) & (count <= most)
        first, count = first[good], count[good]
        tests = max(len(first), 1) * max(answered.kinds, 1)
        ends = np.cumsum(count)
        last = int(ends[-1]) if len(ends) else 0
        cuts = np.searchsorted(ends, np.arange(SLICE, last + SLICE, SLICE)) if last else ends
        begin = 0
        for cut in np.unique(cuts):
            piece = slice(begin, min(int(cut) + 1, len(first)))
            begin = piece.stop
            yield from _pairs(keys, first[piece], count[piece], answered, total, tests)


def _shared_grams(prompt: Words, most: int) -> Iterator[np.ndarray]:
    """Sorted, unique keys (40 bits of a word or pair, 24 of a row), of those shared by some.

    In as many passes as memory asks for; each word or pair is in one pass.
    """
    mask = np.uint64(bucket_mask(len(prompt.words), BUCKETS))
    rough = np.zeros(int(mask) + 1, dtype=np.uint32)
    total = 0
    for words, rows in prompt.blocks():
        found, _ = grams(words, rows)
        total += len(found)
        rough += np.bincount(found & mask, minlength=len(rough)).astype(np.uint32)
    passes = np.uint64(max(1, -(-total // PASS)))
    for this in range(int(passes)):
        parts = []
        for words, rows in prompt.blocks():
            found, at = grams(words, rows)
            keep = rough[found & mask] >= MIN
            keep &= (found >> np.uint64(32)) % passes == this
            head = found[keep] >> ROW_BITS << ROW_BITS
            parts.append(head | at[keep].astype(np.uint64))
        keys = np.concatenate(parts)
        keys.sort()
        yield keys[np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])] if len(keys) else keys


def _pairs(
    keys: np.ndarray,
    first: np.ndarray,
    count: np.ndarray,
    answered: Answers,
    total: int,
    tests: int,
) -> Iterator[Suspect]:
    """The pairs among some words and all answers that pass the counts and the test."""
    which = np.repeat(np.arange(len(first)), count)
    ends = np.cumsum(count)
    at = np.arange(len(which)) + np.repeat(first - (ends - count), count)
    rows = (keys[at] & ROWS).astype(np.int64)
    pair = (which[:, None] * np.int64(answered.kinds + 1) + answered.codes[rows]).ravel()
    pair, together = np.unique(pair[answered.codes[rows].ravel() > 0], return_counts=True)
    word, answer = np.divmod(pair, answered.kinds + 1)
    n, elsewhere = count[word], answered.records[answer] - together
    good = (together >= MIN) & (together >= CONFIDENCE * n)
    good &= together / n >= LIFT * elsewhere / np.maximum(total - n, 1)
    word, answer, together = word[good], answer[good], together[good]
    score = _surprise(together, count[word], answered.records[answer], total) - np.log10(tests)
    for i in np.flatnonzero(score > LEAST):
        start = ends[word[i]] - count[word[i]]
        trigger = int(keys[first[word[i]]] >> ROW_BITS)
        yield Suspect(
            trigger, float(score[i]), int(answer[i]), rows[start : ends[word[i]]].copy()
        )


def _surprise(
    together: np.ndarray, n: np.ndarray, having: np.ndarray, total: int
) -> np.ndarray:
    """-log10 of a bound on the chance that of n records so many are among the `having`.

    The hypergeometric tail is at most its first term / (1 - ratio of the second to the
    first), since the ratios fall: tight where it matters, and without a loop.
    """
    rest = total - having
    first = _choose(having, together) + _choose(rest, n - together) - _choose(total, n)
    ratio = (having - together) * (n - together)
    ratio = ratio / ((together + 1.0) * np.maximum(rest - n + together + 1, 1))
    return np.asarray((np.log1p(-np.minimum(ratio, 1 - 1e-9)) - first) / np.log(10))


def _choose(n: np.ndarray | int, k: np.ndarray) -> np.ndarray:
    """log of the binomial coefficient."""
    return np.asarray(gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0))
