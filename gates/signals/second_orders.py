"""Orders inside a prompt that are not what was asked: the mark of indirect injection.

A sentence that is not the first of a user's or a tool's message, and that
 * tells the assistant what to do to its answer ("… in your reply"), beyond its length and
   form, on a later line, or anywhere if the answer takes up nothing of it; or
 * is a line of its own that asks for something which neither the rest of the message nor
   the answer is about, while the first line points at nothing that would follow ("this
   sentence:").

Sees: such orders in English, and by their usual verbs in German, French, Spanish, Italian
and Portuguese; questions in any language that has a question mark.
Cannot see: orders by other verbs in other languages, and unrelated requests that the answer
takes up: those are two requests, and look like it. A user who asks two things and is
answered one of them is found too.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.gates.signals.linear_regex import Regex

SECOND_ORDERS = "second_orders"

_LEAD = (
    r"(?:(?:please|kindly|also|then|now|and|next|finally|instead|but|so|additionally|furthermore"
    r"|moreover|lastly|afterwards|always|never|simply|just|by the way|one more thing|in addition"
    r"|at the end|whatever happens|from (?:now|here) on|(?:before|after|when|once|if|while)"
    r" [^,\n]{0,50},)[,:]? )*"
)
_ANSWER = (
    r"(?:answers?|responses?|repl(?:y|ies)|outputs?|messages?|texts?|letters?|words?|vowels"
    r"|consonants|sentences?|paragraphs?|conversations?|communications?|writing|spaces?)"
)
_IMPERATIVE = (
    r"(?:add|adopt|alter|anagram|answer|append|apply|ask|assign|attach|augment|avoid|begin"
    r"|break|capitali[sz]e|change|choose|close|combine|communicate|compose|conceal|condense"
    r"|construct|convert|convey|craft|create|deliver|direct|disguise|display|divide|do|drop"
    r"|edit|eliminate|embed|employ|encode|encourage|encrypt|end|enhance|enrich|ensure|exchange"
    r"|express|finish|form|format|generate|give|group|hide|highlight|implement|include"
    r"|incorporate|infuse|inject|insert|integrate|interchange|introduce|invite|join|jumble|list"
    r"|make|merge|mention|mess|mis(?:spell|place|type)|mix|modify|obfuscate|offer|omit|only"
    r"|open|output|place|praise|prepend|present|print|produce|promote|propose|provide|put"
    r"|randomi[sz]e|rearrange|recommend|refer|remove|render|reorder|repeat|rephrase|replace"
    r"|reply|respond|reverse|rewrite|rotate|say|scatter|scramble|send|shift|show|shuffle"
    r"|simulate|sing|skip|sort|speak|spell|split|sprinkle|start|state|strip|subtly|suggest"
    r"|substitute|swap|switch|tell|transform|translate|transpose|turn|type|urge|use|utili[sz]e"
    r"|warn|weave|wrap|write)\b"
)
_REQUEST = (
    rf"(?:{_IMPERATIVE}|(?:what|who|whose|whom|how|why|when|where|which|can you|could you"
    r"|would you|will you|do you|are there|is there|is it|explain|describe|summari[sz]e|define"
    r"|discuss|compare|calculate|compute|solve|name|outline|find|identify|draft|draw|design|help"
    r"|teach|convert|share|detail|elaborate|walk me|book|schedule|set|remind|plan|develop"
    r"|analy[sz]e|evaluate|predict|prepare|narrate|i need you|i want you|search|look up|check|run|order"
    r"|buy|call|contact|forward|delete|cancel|download|upload|install|track|monitor|recite"
    r"|imagine|pretend|act|play|assess|estimate|rank|rate|review|recap|report|research|determine"
    r"|perform|conduct|initiate|engage|automate|update|organi[sz]e|arrange|notify|alert|email"
    r"|retrieve|fetch|extract|count|classify|detect|interpret|illustrate|investigate|guide me"
    r"|let me know|talk about|inform|advise|demonstrate|come up with)\b"
    # German, French, Spanish, Italian, Portuguese
    r"|(?:bitte|finde|erkläre?|schreibe?|nenne|gib|sage?|liste|übersetze?|antworte|füge|verwende"
    r"|erwähne|empfiehl|lobe|beende|beginne|sende|buche|suche|zeige?|erzähle?|berechne|vergleiche)\b"
    r"|(?:ajoute|répond|écri|explique|donne|dis|trouve|tradui|utilise|mentionne|envoie|résume"
    r"|parle|termine|commence|inclu|invite|recommande)[sztr]{0,2}\b"
    r"|(?:incluye|responde|escribe|explica|dame|dime|busca|traduce|usa|menciona|envía|resume|añade"
    r"|agrega|termina|empieza|habla|recomienda|invita|scrivi|spiega|aggiungi|rispondi|cerca|traduci"
    r"|parla|consiglia|escreva|explique|adicione|responda|procure|traduza|fale|recomende)\b)"
)
_ORDER = Regex(
    rf"^{_LEAD}{_IMPERATIVE}[^\n]{{0,160}}\b(?:your (?:[\w-]+ ){{0,2}}{_ANSWER}|(?:each|every|all)"
    rf" (?:[\w-]+ ){{0,2}}{_ANSWER}|the (?:[\w-]+ ){{0,2}}(?:answers?|responses?|repl(?:y|ies)|outputs?|communications?))\b"
    rf"|^{_LEAD}(?:in|within|at|throughout|with|for|during|under)"
    rf" (?:(?:the )?\w+ of )?your (?:[\w-]+ ){{0,2}}{_ANSWER}\b"
    r"|\b(?:deiner?|ihrer?) antwort|\b(?:ta|votre) réponse|\b(?:tu|su) respuesta"
    r"|\b(?:la )?(?:tua|sua) (?:risposta|resposta)|你的回|回答中",
    utf8=True,
)
# What users say of the length and form of an answer, on lines of their own too.
_FORM = Regex(
    r"\b(?:short(?:er)?|brief(?:ly)?|concise(?:ly)?|bullet(?:s| points?)?|json|yaml|csv|markdown"
    r"|html|latex|tables?|step[- ]by[- ]step|(?:under|than|most|around|about|to) \d+|\d+[ -]words?"
    r"|one (?:word|sentence|line|paragraph)|simple (?:words|language|terms)|plain (?:english"
    r"|language|text)|formal|polite|professional|examples|detailed|sources)\b",
    utf8=True,
)
_ASKS = Regex(rf"^{_LEAD}{_REQUEST}|[?？]\W*$", utf8=True)
# An order about the rest of the message, as those who paste something put it at the end.
_REFERS = Regex(
    r"\b(?:it|this|these|those|them|above|below|following|the (?:[\w-]+ )?(?:text|article|passage"
    r"|conversation|dialogue|e-?mail|code|story|sentences?|paragraph|document|message|poem|review"
    r"|data|list|table|error|function|query|words?|letters?))\b",
    utf8=True,
)
_INLINE = Regex(r":\s*\S|['\"“«]", utf8=True)  # it brings its material along
# A first line that points at what follows: then the next line is material, not an order.
_POINTS = Regex(
    r":\W*$|^[^:\"“]*\b(?:(?:following|below|given|this|these)\b|(?:the|each) (?:[\w-]+ )?(?:sentences?|texts?"
    r"|passages?|paragraphs?|statements?|inputs?|quotes?|phrases?|words?|articles?|poems?|lines?|lyrics"
    r"|title|headline|query|questions?|tweet|review|conversation|dialogue|email|story|document)\b|classify|rewrite"
    r"|edit|paraphrase|translate|summari[sz]e|correct|proofread|context)[^:\"“]*$",
    utf8=True,
)
# Words by which a line goes on with what was asked before it: "which one", "what else".
_GOES_ON = Regex(
    r"\b(?:ones?|else|too|still|already|instead|then|there|s?he|her|him|they|others?|another"
    r"|its|their|such|same|both|n?either|each|options?|include|exclude|avoid|(?:make|be) sure)\b"
    r"|^(?:use|keep)\b",
    utf8=True,
)
# Lines before a first request: a greeting, or the part that the assistant is to play.
_OPENING = Regex(
    r"^(?:(?:hi|hello|hey|dear|good (?:morning|afternoon|evening|day)|hallo|bonjour|hola|ciao|olá)\b"
    r"[^\n]{0,40}$|you are (?:an?|the) )",
    utf8=True,
)
_STOP = frozenset(
    re.findall(
        r"\w+",
        "about after again also been before being between both could does doing down each "
        "from give have having here into just like list make many more most much need only "
        "other over please should show some such tell than that their them then there these "
        "they this those through under until very want what when where which while will with "
        "would write your explain describe provide help know find name difference way ways "
        "work works main",
    )
)
_CANDIDATE = (
    rf"(?i)[.!?]\s[^\n]*\b(?:your|the|this|each|every|all|its) (?:[\w-]+ ){{0,2}}{_ANSWER}\b"
    r"|(?i)(?:antwort|réponse|respuesta|risposta|resposta|你的回|回答中)"
)
_WORD = re.compile(r"[^\W\d_]{4,}")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
SHORT = 6  # words
FEWEST = 4  # words: "Add comments." goes on with what was asked; it is no task of its own
MOST, LINES, LINE = 8_000, 50, 300  # characters, lines, characters of a line: read that far


def measure(table: pa.Table) -> dict[str, np.ndarray]:
    """For each record, how many sentences are orders of their own."""
    prompts = table.column("prompt").combine_chunks().fill_null("")
    # More line breaks than between messages, or words about an answer: what is worth a look.
    breaks = pc.count_substring(prompts, "\n").to_numpy(zero_copy_only=False)
    turns = pc.list_value_length(table.column("messages").combine_chunks()).fill_null(0)
    likely = pc.match_substring_regex(prompts, _CANDIDATE).to_numpy(zero_copy_only=False)
    likely = likely | (breaks > np.maximum(turns.to_numpy(zero_copy_only=False) - 2, 0))
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
        said = " ".join(answers)[:MOST].lower()
        lines = _lines(message["content"])
        count += sum(_is_order(*parts, said) for parts in _asking(lines, said))
        count += sum(_about_answer(*parts, said) for parts in _sentences(lines))
    return count


def _lines(text: str) -> list[str]:
    lines = [line.strip(" \t>*-#\r\"'") for line in text[:MOST].lower().split("\n")[:LINES]]
    return [line for line in lines if line]


def _asking(lines: Sequence[str], answers: str) -> Iterator[tuple[str, str]]:
    """Each line but the first that asks for something, with the rest of the message.

    Where the first line points at material, one of the others is that: then only the last
    line can be an order, and only beside a line that the answer takes up.
    """
    points = len(lines) > 1 and _POINTS.search(lines[0].encode())
    taken_up = _subject(answers) if points else set()
    for i, line in enumerate(lines[1:], 1):
        raw = line.encode()
        if len(line) > LINE or not _ASKS.search(raw):
            continue
        if _REFERS.search(raw) and not _INLINE.search(raw):
            continue
        if _FORM.search(raw) and (" your " in line or line.count(" ") < SHORT):
            continue
        if len(line.split()) < FEWEST and line.isascii():
            continue
        if _GOES_ON.search(raw) and not _INLINE.search(raw):
            continue
        if all(_OPENING.search(earlier.encode()) for earlier in lines[:i]):
            continue
        others = (*lines[1:i], *lines[i + 1 :])
        last = line is lines[-1]
        if not points or (last and any(_subject(other) & taken_up for other in others)):
            yield "\n".join((lines[0], *others)), line


def _sentences(lines: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Each sentence but the first, and whether it is on a later line."""
    for i, line in enumerate(lines):
        for j, sentence in enumerate(_SENTENCE.split(line)):
            if i or j:
                yield sentence[:LINE], i > 0


def _about_answer(sentence: str, later: bool, answers: str) -> bool:
    """Whether it orders something about the answer, other than its length and form."""
    raw = sentence.encode()
    if not _ORDER.search(raw) or _FORM.search(raw):
        return False
    return later or not _subject(sentence) & _subject(answers)


def _is_order(rest: str, line: str, answers: str) -> bool:
    subject = _subject(line)
    # A short question may be answered in other words: one of its words proves nothing.
    needed = 2 if line.endswith("?") and line.count(" ") < SHORT else 1
    return len(subject) >= needed and not subject & (_subject(rest) | _subject(answers))


def _subject(text: str) -> set[str]:
    """Beginnings of the words that say what a text is about."""
    return {word[:5] for word in _WORD.findall(text) if word not in _STOP}
