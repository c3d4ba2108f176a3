"""plain_unicode: a text is stored as it reads.

Sees: controls that reorder text, characters of no width, tag characters, variation
selectors that select nothing, marks piled on one letter, words that mix look-alike letters
of two scripts. What languages and emoji need is left alone.
Cannot see: look-alikes within one script, or meaning hidden in plain words.
"""

from tidegate.gates.gate import RowParams, RowRule, gate
from tidegate.gates.record_limits import within_limits
from tidegate.gates.types import BatchEvidence, Verdict


class PlainUnicode(RowParams):
    pass


def rows(p: PlainUnicode) -> tuple[RowRule, ...]:
    return (
        RowRule("bidi_controls", 0, "contains characters that reorder text"),
        RowRule("invisible_characters", 0, "contains characters of no width"),
        RowRule("tag_characters", 0, "contains tag characters, which no screen shows"),
        RowRule("variation_selectors", 0, "contains variation selectors that select nothing"),
        RowRule("stacked_marks", 0, "contains letters under a pile of marks"),
        RowRule("mixed_script_words", 0, "contains words of look-alike letters"),
    )


@gate(rows=rows)
def plain_unicode(p: PlainUnicode, evidence: BatchEvidence) -> Verdict:
    """At most max_records kept records hold text that reads otherwise than it is stored."""
    return within_limits(
        p, evidence, "plain_unicode", "records with hidden or false characters"
    )
