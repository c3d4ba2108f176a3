"""Votes: which thumbs up and down are of a brigade, or of an author who flips them.

How is said in `brigades` and `contrarians`; topics are found by `topics`.
"""

import numpy as np

from tidegate.gates.signals.brigades import Votes, brigades
from tidegate.gates.signals.contrarians import contrarians
from tidegate.gates.signals.feedback import Feedback, Voices
from tidegate.gates.signals.topics import Topics

BRIGADE, CONTRARIAN = "brigade_score", "contrarian_score"


def measure(
    said: Feedback,
    voices: Voices,
    records: int,
    topics: Topics,
    established: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """For each record two scores, -log10 of adjusted p-values; 0 for one without a vote.

    established: sorted hashes of authors that are known from before; None: nobody is.
    """
    found = {name: np.zeros(records, dtype=np.float32) for name in (BRIGADE, CONTRARIAN)}
    voted = np.flatnonzero(said.up | said.down)
    if not len(voted):
        return found
    vote = voices.vote  # in the order of the records, as `voted` is
    author = voices.author[vote]
    votes = Votes(
        topic=topics(said.asked)[voted],
        up=said.up[voted],
        author=author,
        time=said.time[voted],
        established=None if established is None else np.isin(author, established),
    )
    found[BRIGADE][said.row[voted]] = brigades(votes)
    found[CONTRARIAN][said.row[voted]] = contrarians(
        voices.exchange[vote], author, voices.toward[vote]
    )
    return found
