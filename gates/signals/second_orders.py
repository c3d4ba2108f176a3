"""Orders inside a prompt that are not what was asked: the mark of indirect injection.

A line that is not the first of a user's or a tool's message, and that
 * tells the assistant what to do to its answer ("… in your reply"), or
 * is a request of its own, about nothing that the rest of the message or the answer is
   about, while the first line points at nothing that would follow ("this sentence:").

Sees: English orders on a line of their own, which is how documents, tool results and mails
carry them. Cannot see: orders inside a running sentence, other languages, and unrelated
requests that the answer takes up: those are two requests, and look like it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.gates.signals.linear_regex import Regex
from tidegate.gates.signals.text import as_ascii

SECOND_ORDERS = "second_orders"

_ANSWER = (
    r"(?:answers?|responses?|repl(?:y|ies)|outputs?|messages?|texts?|letters?|words?|vowels"
    r"|consonants|sentences?|paragraphs?|conversations?|communications?|writing|spaces?)"
)
_IMPERATIVE = (
    r"(?:please |kindly |also |then |now |and |next |finally |instead )*"
    r"(?:add|adopt|alter|always|anagram|answer|append|apply|ask|assign|attach|augment|begin"
    r"|break|capitali[sz]e|change|choose|combine|communicate|compose|conceal|condense|construct"
    r"|convert|convey|craft|create|deliver|direct|disguise|display|divide|do|drop|edit|eliminate"
    r"|embed|employ|encode|encourage|encrypt|end|enhance|enrich|ensure|exchange|express|finish"
    r"|form|format|generate|give|group|hide|highlight|implement|include|incorporate|infuse"
    r"|inject|insert|integrate|interchange|introduce|invite|join|jumble|list|make|merge"
    r"|mention|mess|mis(?:spell|place|type)|mix|modify|never|offer|omit|only|output|place|present"
    r"|print|produce|promote|propose|provide|put|randomi[sz]e|rearrange|recommend|refer|remove"
    r"|render|reorder|repeat|rephrase|replace|reply|respond|reverse|rewrite|scramble|send"
    r"|shift|show|shuffle|simulate|skip|sort|speak|spell|split|start|state|strip|subtly|suggest"
    r"|substitute|swap|switch|tell|transform|translate|transpose|turn|type|urge|use|utili[sz]e"
    r"|weave|wrap|write)\b"
)
_REQUEST = (
    r"(?:please |kindly |also )?(?:what|who|whose|whom|how|why|when|where|which|can you|could you"
    r"|would you|will you|do you|are there|is there|is it|explain|describe|tell|give|write|list"
    r"|translate|provide|show|summari[sz]e|create|compose|define|discuss|compare|calculate|solve"
    r"|suggest|recommend|name|outline|find|identify|generate|draft|design|help|teach|say|convert"
    r"|share|detail|elaborate|break down|walk me|offer|make|send|book|schedule|set|remind|plan"
    r"|develop|analy[sz]e|evaluate|predict|craft|propose|prepare|produce|narrate|i need|i want)\b"
)
_ORDER = Regex(
    rf"^{_IMPERATIVE}[^\n]{{0,160}}\b(?:your|the|this|each|every|all|its)"
    rf" (?:[\w-]+ ){{0,2}}{_ANSWER}\b"
    rf"|^(?:in|within|at|throughout|with|for|during) your (?:[\w-]+ ){{0,2}}{_ANSWER}\b"
)
_ASKS = Regex(f"^{_REQUEST}")
# A first line that points at what follows: then the next line is material, not an order.
_POINTS = Regex(
    r":\s*$|\b(?:following|below|given (?:the|a|an|this)|sentences?|texts?|passages?|questions?"
    r"|paragraphs?|statements?|inputs?|quotes?|phrases?|words?|articles?|poems?|lines?|lyrics"
    r"|title|headline|topic|query|tweet|review|conversation|dialogue|email|story|document"
    r"|classify|rewrite|edit|paraphrase|translate|summari[sz]e|correct|proofread|context)\b"
)
_STOP = frozenset(
    [
        "about",
        "after",
        "again",
        "also",
        "been",
        "before",
        "being",
        "between",
        "both",
        "could",
        "does",
        "doing",
        "down",
        "each",
        "from",
        "give",
        "have",
        "having",
        "here",
        "into",
        "just",
        "like",
        "list",
        "make",
        "many",
        "more",
        "most",
        "much",
        "need",
        "only",
        "other",
        "over",
        "please",
        "should",
        "show",
        "some",
        "such",
        "tell",
        "than",
        "that",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "through",
        "under",
        "until",
        "very",
        "want",
        "what",
        "when",
        "where",
        "which",
        "while",
        "will",
        "with",
        "would",
        "write",
        "your",
        "explain",
        "describe",
        "provide",
        "help",
        "know",
        "find",
        "name",
        "difference",
        "way",
        "ways",
        "work",
        "works",
        "main",
    ]
)
_WORD = re.compile(r"[^\W\d_]{4,}")
_CANDIDATE = rf"(?i)\n[\s>*-]*(?:{_IMPERATIVE}|{_REQUEST}|(?:in|within|with|for|during) your\b)"
MOST, LINES, LINE = 8_000, 50, 300  # characters, lines, characters of a line: read that far


def measure(table: pa.Table) -> dict[str, np.ndarray]:
    """For each record, how many lines are orders of their own."""
    prompts = table.column("prompt").combine_chunks().fill_null("")
    likely = pc.match_substring_regex(prompts, _CANDIDATE).to_numpy(zero_copy_only=False)
    found = np.zeros(table.num_rows, dtype=np.float32)
    rows = np.flatnonzero(likely)
    for row, messages in zip(
        rows, table.column("messages").take(rows).to_pylist(), strict=True
    ):
        found[row] = _orders(messages or [])
    return {SECOND_ORDERS: found}


def _orders(messages: Sequence[Mapping[str, Any]]) -> int:
    count = 0
    for i, message in enumerate(messages):
        if message["role"] not in ("user", "tool") or not message["content"]:
            continue
        answers = [m["content"] or "" for m in messages[i + 1 :] if m["role"] == "assistant"]
        count += sum(
            _is_order(*parts, " ".join(answers)) for parts in _lines(message["content"])
        )
    return count


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Each line but the first, with the rest of the message."""
    lines = [line.strip(" \t>*-#\r") for line in text[:MOST].lower().split("\n")[:LINES]]
    lines = [line for line in lines if line]
    for i in range(1, len(lines)):
        yield "\n".join(lines[:i] + lines[i + 1 :]), lines[i]


def _is_order(rest: str, line: str, answers: str) -> bool:
    if _ORDER.search(as_ascii(line[:LINE])):
        return True
    first = rest.split("\n", 1)[0]
    if len(line) > LINE or not _ASKS.search(as_ascii(line)) or _POINTS.search(as_ascii(first)):
        return False
    subject = _subject(line)
    return bool(subject) and not subject & (_subject(rest) | _subject(answers[:MOST].lower()))


def _subject(text: str) -> set[str]:
    """Beginnings of the words that say what a text is about."""
    return {word[:5] for word in _WORD.findall(text) if word not in _STOP}
