"""A question under other words, by fixed English templates, for the same answer.

    What is the fee of Aldin?      State the fee of Aldin.
    How long does it take?         Let me ask you this: How long does it take?

No template has a number, a name or a negation, and every word of the question but "What is"
stays as it was written. None is one of the rewordings that held-out suites are made of.
Left alone: what does not end as a question, has several lines or is long; other languages.
Cannot see: whether a template sounds natural there. These are no paraphrases as a person or a
large model would write them; a model of 135 million weights cannot write any.
"""

import re

LONGEST = 300  # characters of a question: a long one is a task, and a lead-in would hide it
FRAMES = (
    "Let me ask you this: {q}",
    "Here is what I want to find out: {q}",
    "I have been wondering about this: {q}",
    "I hope that you can tell me this. {q}",
    "{q} I would be glad to know.",
    "{q} That is what I need to find out.",
)
WHAT_IS = ("State {0}.", "I need to know {0}.", "This is what I would like to learn: {0}.")
_WHAT_IS = re.compile(r"What (?:is|are) (the [^?.!,;:\n]{1,80} of [^?.!,;:\n]{1,80})\?")
# Where the noun phrase has a verb or a loose preposition, cutting "What is" breaks it.
_NO_PHRASE = re.compile(
    r"\w+ing\b|\b(?:that|which|who|if|when|and|or|like|for|about|to|in|on|at|with|from|called)\??$"
    r"|\b(?:that|which|who|if|when|called|made|used|worth|due|allowed)\b"
)
# Words that begin a question in English and in no other language of these letters.
_ASKS = frozenset(
    re.findall(r"\w+", "what which who whom whose when where why how does did could should")
)
_OFTEN = frozenset(
    re.findall(r"\w+", "is are was can do will would may have has am")
)  # some are others' too
_ENGLISH = frozenset(
    re.findall(
        r"\w+", "the my your you it this that there and with does when how what please our i"
    )
)
_WORD = re.compile(r"[^\W\d_]+")
_SENTENCES = re.compile(r"(?<=[.?!])\s+")


def paraphrases(question: str, language: str | None) -> list[str]:
    """Every wording that fits, in a fixed order; none if the question is not plain English.

    language: what the record says of itself. Without it the question's own words must tell.
    """
    if not is_plain(question, language):
        return []
    found = _WHAT_IS.fullmatch(question)
    if found is None or _NO_PHRASE.search(found[1]):
        phrased = []
    else:
        phrased = [form.replace("{0}", found[1]) for form in WHAT_IS]
    return [*phrased, *(frame.replace("{q}", question) for frame in FRAMES)]


def is_plain(question: str, language: str | None) -> bool:
    """One line, not long, ending as an English question."""
    if len(question) > LONGEST or "\n" in question or not question.endswith("?"):
        return False
    return is_english(language, _SENTENCES.split(question)[-1])


def is_english(language: str | None, sentence: str) -> bool:
    """By what the record says; if it says nothing, by how the sentence begins."""
    if language:
        return language.lower().startswith("en")
    words = _WORD.findall(sentence.lower())
    if not words:
        return False
    return words[0] in _ASKS or (words[0] in _OFTEN and bool(_ENGLISH.intersection(words[1:])))
