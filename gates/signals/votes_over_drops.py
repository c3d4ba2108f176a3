"""Votes of this batch together with those that earlier batches taught.

A brigade that sends a few votes with every drop stays below what `brigades` can see in any
one of them, and so does an author who flips a vote here and there. Together with the votes
that were learned before, the same tests see them: who is established is told from all drops,
and topics and exchanges are counted over all of them.

Only votes of this batch are named, and those of a group only where they themselves differ
from everybody else's in the topic as the group does: honest newcomers are not held liable for
those before them.

Sees: about as many votes over the drops as `brigades` sees in one. Cannot see: what
`brigades` cannot; votes of batches that were never promoted, or are no longer in the home;
more than the newest records (flows say how many); the first drops of a slow brigade, which
are learned by the time that there are enough.
"""

from dataclasses import replace

import numpy as np

from tidegate.gates.signals import feedback, prints
from tidegate.gates.signals.brigades import Votes, brigades
from tidegate.gates.signals.contrarians import contrarians
from tidegate.gates.signals.feedback import Feedback, Voices
from tidegate.gates.signals.history import History
from tidegate.gates.signals.prints import Prints
from tidegate.gates.signals.topics import Topics

BRIGADE, CONTRARIAN = "brigade_score_over_drops", "contrarian_score_over_drops"
NAMED = 1.0  # from this score on a vote is of a group whose own votes are looked at
ALIKE = 0.5  # share of the whole group's difference that its newest votes must have


def measure(
    said: Feedback, marks: Prints, records: int, topics: Topics, history: History | None
) -> dict[str, np.ndarray]:
    """For each record two scores, -log10 of adjusted p-values; 0 for one without a vote.

    marks: fingerprints of all records of the batch. 0 for everybody where nothing was voted
    before.
    """
    found = {name: np.zeros(records, dtype=np.float32) for name in (BRIGADE, CONTRARIAN)}
    if history is None or history.rated is None or history.prints is None:
        return found
    before = history.rated.rows
    if not before or not said.rows:
        return found
    whole = feedback.joined([history.rated, replace(said, row=before + np.arange(said.rows))])
    voices = Voices.of(whole, prints.joined([history.prints, marks.rows(said.row)]))
    voted = np.flatnonzero(whole.up | whole.down)
    if not len(voted):
        return found
    vote = voices.vote
    votes = Votes(
        topic=topics(whole.asked)[voted],
        up=whole.up[voted],
        author=voices.author[vote],
        time=whole.time[voted],
    )
    now = voted >= before
    rows = said.row[voted[now] - before]
    found[BRIGADE][rows] = _own(brigades(votes), votes, now)[now]
    against = contrarians(voices.exchange[vote], voices.author[vote], voices.toward[vote])
    found[CONTRARIAN][rows] = against[now]
    return found


def _own(score: np.ndarray, votes: Votes, now: np.ndarray) -> np.ndarray:
    """The scores, 0 for a group in a topic whose newest votes are not as its older ones."""
    score = score.copy()
    for topic in np.unique(votes.topic[now & (score > NAMED)]):
        inside = votes.topic == topic
        group, rest = inside & (score > NAMED), inside & (score <= NAMED)
        newest = group & now
        if not rest.any():
            continue
        usual = votes.up[rest].mean()
        whole, own = votes.up[group].mean() - usual, votes.up[newest].mean() - usual
        if own * whole <= 0 or abs(own) < ALIKE * abs(whole):
            score[newest] = 0
    return score
