"""Characters that make a text read otherwise than it is stored (Unicode TR 36 and TR 39).

Sees: controls that reorder text, characters of no width, tag characters, variation
selectors where they select nothing, marks piled on one letter, and words that mix
look-alike letters of two scripts.
Leaves alone what languages and emoji need: joiners in Indic, Arabic and emoji sequences,
direction marks in right-to-left text, soft spaces in South-East Asian text, flag tags.
Cannot see: look-alikes within one script (rn for m), or text hidden by colour or size.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.gates.signals.text import Finding, without_overlaps

COLUMNS = {
    "bidi": "bidi_controls",
    "invisible": "invisible_characters",
    "tag": "tag_characters",
    "variation": "variation_selectors",
    "mixed": "mixed_script_words",
    "stacked": "stacked_marks",
}

BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
INVISIBLE = (
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200d\u2060-\u2064\u206a-\u206f"
    "\u2065\u2800\u3164\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
)
TAGS = "\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"  # all that no font may draw
SELECTORS = "\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef"
# Full-width and mathematical letters and digits: other code points for plain ASCII.
STYLED = (
    "\uff10-\uff19\uff20-\uff3a\uff41-\uff5a\uff0e\U0001d400-\U0001d7ff"
    "\u24b6-\u24e9\U0001f130-\U0001f149\U0001f150-\U0001f169\U0001f170-\U0001f189"
)
_HIDDEN = re.compile(f"[{BIDI}{INVISIBLE}{SELECTORS}{TAGS}]")
_BIDI = re.compile(f"[{BIDI}]")
_SELECTOR = re.compile(f"[{SELECTORS}]")
_TAG = re.compile(f"[{TAGS}]")
_FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007e]{3,8}\U000e007f")
_SENTENCE_RTL = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
# Scripts whose joiners carry meaning: Arabic and its kin, and the Brahmic scripts.
_JOINING = re.compile("[\u0600-\u08ff\u0900-\u0dff\u0e80-\u109f\u1780-\u17ff\u1800-\u18af]")
_SPACELESS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u4e00-\u9fff]")
_IDEOGRAPH = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")

# Letters of other scripts that are drawn like a Latin one (from TR 39's intentional set).
LOOKALIKES = dict(
    zip(
        "асԁеһіјӏорԛѕԝхуѵАВЕԌНІЈКМОРЅТԜХУορνΑΒΕΖΗΙΚΜΝΟΡΤΥΧօոսցհՕՏᎪᏴᏟᎬᎻᎫᏦᏞᎷᏢᏚᎢᏙᏔᏃ",
        "acdehijlopqswxyvABEGHIJKMOPSTWXYopvABEZHIKMNOPTYXonughOSABCEHJKLMPSTVWZ",
        strict=True,
    )
)
_OTHER = "\u0370-\u03ff\u0400-\u052f\u0530-\u058f\u13a0-\u13ff"
_LATIN = "A-Za-z\u00c0-\u024f"
_WORD = re.compile(f"[{_LATIN}{_OTHER}]+")
_IS_LATIN, _IS_OTHER = re.compile(f"[{_LATIN}]"), re.compile(f"[{_OTHER}]")

# Marks piled on one letter hide the text under them; no language needs four.
MARKS = "\u0300-\u034e\u0350-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_STACK = re.compile(f"[{MARKS}]{{4,}}")

_SUSPECT = f"[{BIDI}{INVISIBLE}{SELECTORS}{TAGS}]|[{''.join(LOOKALIKES)}]|[{MARKS}]{{4}}"
_FOLD = f"[{BIDI}{INVISIBLE}{SELECTORS}{TAGS}{STYLED}]"


def measure(text: pa.Array) -> dict[str, np.ndarray]:
    """For each record, how many tricks of each kind its text holds."""
    counts = {name: np.zeros(len(text), dtype=np.float32) for name in COLUMNS.values()}
    suspects = pc.match_substring_regex(text, _SUSPECT).to_numpy(zero_copy_only=False)
    for i in np.flatnonzero(suspects):
        for kind, count in Counter(f.kind for f in tricks(text[i].as_py())).items():
            counts[COLUMNS[kind]][i] = count
    return counts


def tricks(text: str) -> list[Finding]:
    """What a reader would not see in a text, or would read as something else."""
    found = [f for f in _hidden(text) if f is not None]
    if _IS_OTHER.search(text):
        found += _mixed(text)
    found += [Finding("stacked", *match.span()) for match in _STACK.finditer(text)]
    return found


def cleaned(text: str) -> str:
    """The text as a reader sees it: hidden characters gone, look-alikes made Latin."""
    pieces, end = [], 0
    for finding in without_overlaps(tricks(text)):
        found = text[finding.start : finding.end]
        pieces += [text[end : finding.start], replacement(finding.kind, found)]
        end = finding.end
    pieces.append(text[end:])
    return "".join(pieces)


def replacement(kind: str, found: str) -> str:
    """What a reader sees in place of a trick: the Latin word, or nothing."""
    return "".join(LOOKALIKES.get(c, c) for c in found) if kind == "mixed" else ""


def folded(texts: pa.Array) -> pa.Array:
    """What the other detectors read: nothing hidden, and plain letters for styled ones."""
    suspects = pc.match_substring_regex(texts, _FOLD).to_numpy(zero_copy_only=False)
    if not suspects.any():
        return texts
    rows = texts.to_pylist()
    for i in np.flatnonzero(suspects):
        rows[i] = fold(rows[i])
    return pa.array(rows, type=pa.string())


_FOLDED = re.compile(_FOLD)


def fold(text: str) -> str:
    """One text without hidden characters and with plain letters for styled ones."""
    return _FOLDED.sub(lambda m: _plain(m.group()), text)


def _plain(character: str) -> str:
    return "" if _HIDDEN.match(character) else unicodedata.normalize("NFKC", character)


def _hidden(text: str) -> Iterator[Finding | None]:
    right_to_left = _SENTENCE_RTL.search(text) is not None
    flags = [match.span() for match in _FLAG.finditer(text)] if _TAG.search(text) else []
    in_flag = {i for start, end in flags for i in range(start, end)}
    for match in _HIDDEN.finditer(text):
        i, c = match.start(), match.group()
        before = text[i - 1] if i else ""
        after = text[i + 1] if i + 1 < len(text) else ""
        if _BIDI.match(c):
            fine = right_to_left and c not in "\u202d\u202e"  # an override is never needed
            yield None if fine else Finding("bidi", i, i + 1)
        elif _TAG.match(c):
            yield None if i in in_flag else Finding("tag", i, i + 1)
        elif _SELECTOR.match(c):
            yield None if _selects(before, c) else Finding("variation", i, i + 1)
        else:
            yield None if _joins(before, c, after) else Finding("invisible", i, i + 1)


def _selects(base: str, selector: str) -> bool:
    """Whether a variation selector stands behind something that has variants."""
    if not base:
        return False
    if selector in "\ufe0e\ufe0f":
        return base in "#*0123456789" or unicodedata.category(base) in ("So", "Sm", "Po", "Sk")
    if selector <= "\u180f":
        return "\u1800" <= base <= "\u18af"
    return bool(_IDEOGRAPH.match(base)) or unicodedata.category(base) == "Sm"


def _joins(before: str, c: str, after: str) -> bool:
    """Whether a joiner or a soft space is one that a language or an emoji needs."""
    if not before or not after:
        return False
    if c in "\u200c\u200d" and _JOINING.match(before):
        return True
    if c == "\u2800":  # a blank among the dots of Braille
        return "\u2800" <= before <= "\u28ff" and "\u2800" < after <= "\u28ff"
    if c == "\u200d":
        return _emoji(before) and _emoji(after)
    if c == "\u200b":
        return bool(_SPACELESS.match(before) and _SPACELESS.match(after))
    return False


def _emoji(c: str) -> bool:
    return unicodedata.category(c) in ("So", "Sk") or c == "\ufe0f" or c in "\u2640\u2642"


def _mixed(text: str) -> Iterator[Finding]:
    """Words of two scripts, and whole words of look-alikes in a text that is Latin."""
    words = [m for m in _WORD.finditer(text) if len(m.group()) > 1]
    other_words = [m for m in words if _IS_OTHER.search(m.group())]
    honest = any(
        not _IS_LATIN.search(m.group()) and any(c not in LOOKALIKES for c in m.group())
        for m in other_words
    )
    for match in other_words:
        word = match.group()
        foreign = [c for c in word if _IS_OTHER.match(c)]
        disguised = all(c in LOOKALIKES for c in foreign)
        latin = len(word) - len(foreign)
        if not disguised:
            continue
        if (latin and len(word) > 2) or (not latin and not honest and len(word) > 3):
            yield Finding("mixed", match.start(), match.end())
