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
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array
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
PASS = 4_000_000  # words and pairs of words that are held at a time
SLICE = 100_000  # words with a record each, that are counted at a time
ROW_BITS = np.uint64(24)
ROWS = np.uint64((1 << 24) - 1)


@dataclass(frozen=True)
class Suspect:
    """A trigger and an answer that go together too well."""

    trigger: int  # the upper 40 bits of its hash
    score: float  # -log10 of the corrected p-value
    answer: int  # kind of answer
    rows: np.ndarray  # int32, sorted: records with the trigger


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
    suspects = _suspects(said.prompt, answered)
    # What was found is kept as places among the records of an answer: the work for a suspect
    # must not grow with the batch.
    records = answered.rows({suspect.answer for suspect in suspects})
    topics = {answer: np.zeros(len(rows), dtype=bool) for answer, rows in records.items()}
    for suspect in suspects:
        if known and known.has_pair(suspect.trigger, answered.values[suspect.answer]):
            continue
        having, topic = records[suspect.answer], topics[suspect.answer]
        places = _places(having, suspect.rows)
        both = having[places]
        new = both[score[both] == 0]
        if not len(new):
            continue
        if topic[places].mean() >= CONFIDENCE:
            continue
        if not _is_trigger(diversity, suspect, both, having, places):
            topic[places] = True
            continue
        # Fewer new ones than MIN: a part of a trigger that is known by now, and that clean
        # records may hold too.
        marked = suspect.rows if len(new) >= MIN else new
        score[marked] = np.maximum(score[marked], suspect.score)
    return {TRIGGER: score}


def _places(having: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Where among sorted `having` those of `rows` are that it holds."""
    places = np.searchsorted(having, rows)
    inside = places < len(having)
    return np.asarray(places[inside][having[places[inside]] == rows[inside]])


def _is_trigger(
    diversity: Diversity,
    suspect: Suspect,
    both: np.ndarray,
    having: np.ndarray,
    places: np.ndarray,
) -> bool:
    """Whether nothing but the trigger explains the answer of the records with both."""
    if not diversity.unlike(both):
        return False
    return not diversity.explained(both, suspect.rows, np.delete(having, places))


def _suspects(prompt: Words, answered: Answers) -> list[Suspect]:
    """All words and pairs of words that go with an answer too often, most surprising first."""
    total = prompt.rows
    most = max(COMMON_RECORDS, int(COMMON_SHARE * total))
    found: list[Suspect] = []
    tried = 0
    for keys in _shared_grams(prompt, most):
        heads = keys >> ROW_BITS
        first = np.flatnonzero(np.r_[True, heads[1:] != heads[:-1]]) if len(keys) else keys
        count = np.diff(np.r_[first, len(keys)])
        good = (count >= MIN) & (count <= most)
        first, count = first[good], count[good]
        tried += len(first)
        ends = np.cumsum(count)
        last = int(ends[-1]) if len(ends) else 0
        cuts = np.searchsorted(ends, np.arange(SLICE, last + SLICE, SLICE)) if last else ends
        begin = 0
        for cut in np.unique(cuts):
            piece = slice(begin, min(int(cut) + 1, len(first)))
            begin = piece.stop
            found += _pairs(keys, first[piece], count[piece], answered, total)
    tests = np.log10(max(tried, 1)) + np.log10(max(answered.kinds, 1))
    found = [replace(s, score=s.score - tests) for s in found if s.score - tests > LEAST]
    return sorted(found, key=lambda s: (-s.score, s.trigger, s.answer))


def _shared_grams(prompt: Words, most: int) -> Iterator[np.ndarray]:
    """Sorted, unique keys (40 bits of a word or pair, 24 of a row), of those shared by some.

    In as many passes as memory asks for; each word or pair is in one pass.
    """
    mask = np.uint64(bucket_mask(len(prompt.words), BUCKETS))
    rough = np.zeros(int(mask) + 1, dtype=np.uint32)
    for words, rows in prompt.blocks():
        np.add.at(rough, grams(words, rows)[0] & mask, np.uint32(1))
    passes = np.uint64(max(1, -(-int(rough[rough >= MIN].sum(dtype=np.int64)) // PASS)))
    for this in range(int(passes)):
        parts = []
        for words, rows in prompt.blocks():
            found, at = grams(words, rows)
            keep = rough[found & mask] >= MIN
            keep &= (found >> np.uint64(32)) % passes == this
            head = found[keep] >> ROW_BITS << ROW_BITS
            parts.append(head | at[keep].astype(np.uint64))
        keys = np.concatenate(parts)
        del parts
        keys.sort()
        yield keys[np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])] if len(keys) else keys


def _pairs(
    keys: np.ndarray, first: np.ndarray, count: np.ndarray, answered: Answers, total: int
) -> Iterator[Suspect]:
    """The pairs among some words and all answers that pass the counts and may pass the test.

    Their scores are not corrected yet. The counts are a product of two sparse matrices,
    words by records and records by answers.
    """
    ends = np.r_[0, np.cumsum(count)]
    at = np.arange(ends[-1]) + np.repeat(first - ends[:-1], count)
    rows = (keys[at] & ROWS).astype(np.int32)
    held = csr_array((np.ones(len(rows), np.int32), np.arange(len(rows)), ends))
    codes = answered.codes[rows]
    given = csr_array(
        (
            np.ones(codes.size, np.int32),
            codes.ravel(),
            np.arange(0, codes.size + 1, codes.shape[1]),
        ),
        shape=(len(rows), answered.kinds + 1),
    )
    counted = held @ given
    word = np.repeat(np.arange(len(first)), np.diff(counted.indptr))
    good = counted.data >= np.maximum(MIN, CONFIDENCE * count)[word]
    good &= counted.indices > 0
    word, answer, together = word[good], counted.indices[good], counted.data[good]
    n, elsewhere = count[word], answered.records[answer] - together
    good = together / n >= LIFT * elsewhere / np.maximum(total - n, 1)
    word, answer, together = word[good], answer[good], together[good]
    score = surprise(together, count[word], answered.records[answer], total)
    for i in np.flatnonzero(score > LEAST + np.log10(max(answered.kinds, 1))):
        trigger = int(keys[first[word[i]]] >> ROW_BITS)
        held_by = rows[ends[word[i]] : ends[word[i] + 1]].copy()
        yield Suspect(trigger, float(score[i]), int(answer[i]), held_by)


def surprise(together: np.ndarray, n: np.ndarray, having: np.ndarray, total: int) -> np.ndarray:
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
