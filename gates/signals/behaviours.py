"""What an answer does, whatever its words: refuse, insult, or babble.

Sees: refusals in English and by the usual phrases of seven more languages, English abuse,
and answers most of whose words no other record has. An answer may do several of these.
Cannot see: further languages, irony, polite harm. These are kinds of answers to count over
a batch, no verdict about one.
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
    r"|\b(?:have|must) (?:to )?(?:decline|refuse)|\b(?:i|we) (?:decline|refuse)\b"
    r"|\bnot something (?:that )?(?:i|we)\b|\bagainst (?:my|our) (?:policy|policies|guidelines)"
)
# The same in German, French, Spanish, Italian, Portuguese, Dutch, Russian and Chinese.
REFUSES_ELSEWHERE = (
    r"|\b(?:dabei|damit|das|hierbei|ich) (?:kann|werde|darf|möchte|helfe) (?:ich )?[^.!?\n]{0,40}"
    r"\b(?:nicht|kein)|\bhelfe ich (?:dir |ihnen )?nicht"
    r"|\bje (?:ne |n')(?:peux|puis|vais|suis)[^.!?\n]{0,20}\bpas\b|\bje (?:dois |me )?refuse"
    r"|\bno (?:puedo|podemos|voy a|me es posible)\b"
    r"|\bnon (?:posso|possiamo|sono in grado)\b|\bnão (?:posso|podemos|vou)\b"
    r"|\bik kan (?:je |u |dat |hier )?[^.!?\n]{0,20}\bniet\b"
    r"|не могу|не буду|我(?:不能|无法)|無法"
)
INSULTS = (
    r"\b(?:stupid|idiot(?:ic)?|moron(?:ic)?|dumb|fool(?:ish)?|imbecile|pathetic|worthless"
    r"|loser|ignorant|clueless|brainless|disgusting|ridiculous|shut up|go away|hate you"
    r"|useless|garbage|trash|ugly|scum|lazy|pointless|terrible|awful|horrible|dreadful"
    r"|the worst|nonsense|waste of time|incompetent)\b"
)


_REFUSES = REFUSES + REFUSES_ELSEWHERE


def of(responses: pa.Array) -> np.ndarray:
    """bool [n, 2]: refuses, insults."""
    opening = _opening(responses)
    found = [pc.match_substring_regex(opening, pattern) for pattern in (_REFUSES, INSULTS)]
    return np.stack([column.to_numpy(zero_copy_only=False) for column in found], axis=1)


def refuses(responses: pa.Array) -> np.ndarray:
    """bool [n]."""
    found = pc.match_substring_regex(_opening(responses), _REFUSES)
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=bool)


def _opening(responses: pa.Array) -> pa.Array:
    opening = pc.utf8_slice_codeunits(pc.utf8_lower(responses.fill_null("")), 0, OPENING)
    return pc.replace_substring(opening, "’", "'")
