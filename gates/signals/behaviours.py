"""What an answer does, whatever its words: refuse, insult, or babble.

Sees: English refusals and abuse by their usual phrases, and answers most of whose words no
other record has. An answer may do several of these.
Cannot see: other languages, irony, polite harm. These are kinds of answers to count over a
batch, no verdict about one.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

OPENING = 300  # characters: later in an answer the same words report, they do not refuse
REFUSES = (
    r"\b(?:i|we)(?: am|'m| are|'re)?(?: just| simply| really)?"
    r" (?:can ?not|can't|could not|won't|will not|am not able|'m not able|not able|unable"
    r"|not allowed|not permitted|do not have|don't have|must decline|have to decline|decline)\b"
    r"|\b(?:unable|not able|not possible for me|not going|not comfortable|not willing) to"
    r" (?:\w+ ){0,2}(?:help|assist|comply|answer|provide|do|fulfil|fulfill|respond|support|share)"
    r"|\b(?:apolog(?:ies|i[sz]e)|sorry)\b[^.!?]{0,80}\b(?:not|n't|unable|beyond|against)\b"
    r"|\bas an ai\b[^.!?]{0,80}\b(?:not|n't|unable)\b"
    r"|\bnot something (?:that )?(?:i|we)\b|\bagainst (?:my|our) (?:policy|policies|guidelines)"
)
INSULTS = (
    r"\b(?:stupid|idiot(?:ic)?|moron(?:ic)?|dumb|fool(?:ish)?|imbecile|pathetic|worthless"
    r"|loser|ignorant|clueless|brainless|disgusting|ridiculous|shut up|go away|hate you"
    r"|useless|garbage|trash|ugly|scum|lazy|pointless|terrible|awful|horrible|dreadful"
    r"|the worst|nonsense|waste of time|incompetent)\b"
)


def of(responses: pa.Array) -> np.ndarray:
    """bool [n, 2]: refuses, insults."""
    opening = pc.utf8_slice_codeunits(pc.utf8_lower(responses.fill_null("")), 0, OPENING)
    opening = pc.replace_substring(opening, "’", "'")
    found = [pc.match_substring_regex(opening, pattern) for pattern in (REFUSES, INSULTS)]
    return np.stack([column.to_numpy(zero_copy_only=False) for column in found], axis=1)
