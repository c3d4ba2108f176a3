"""Phrases of prompt injection and of well-known jailbreaks, and forged chat markers.

Sees: keywords only. "Ignore all previous instructions", named personas ("DAN", "developer
mode"), requests for the system prompt, and control tokens of chat templates inside text,
which would forge a role once the template is applied.
Cannot see: an instruction in ordinary words. None of BIPIA's indirect injections has such
a phrase, and about a third of the jailbreaks found in the wild have; a text that teaches
security has them too. This names records to look at; it protects nothing alone.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

PHRASES, CONTROLS = "injection_phrases", "control_tokens"

_WHICH = (
    "all|any|the|of|my|your|these|those|every|previous|prior|above|earlier|preceding|foregoing"
    "|original|initial|existing|current"
)
_ORDERS = (
    r"(?:instructions?|prompts?|rules|directions|guidelines|directives|commands|programming"
    r"|context)"
)
_LIMITS = r"(?:restrictions?|filters?|censorship|limitations?|guidelines|moral)"
_PHRASE = "|".join(
    (
        (
            r"\b(?:ignore|disregard|forget|override|bypass|do not follow|don't follow"
            r"|stop following)"
            rf" (?:(?:{_WHICH}) ){{1,5}}{_ORDERS}\b"
        ),
        r"\bignore (?:everything|anything|what) (?:\w+ ){0,3}(?:above|before|told)",
        (
            r"\byou are (?:now |going to be |to act as )"
            r"(?:dan\b|stan\b|dude\b|aim\b"
            r"|an? (?:unrestricted|unfiltered|uncensored|jailbroken|amoral|evil))"
        ),
        (
            r"\b(?:do anything now|jailbreak(?:ed)? mode|dan mode|god mode enabled"
            r"|opposite mode)\b"
        ),
        r"\bdeveloper mode (?:enabled|output|is on)\b",
        (
            r"\b(?:act|respond|answer|pretend|behave|reply)\w{0,3} (?:\w+ ){0,6}"
            rf"(?:without|with no|free (?:of|from)) (?:any )?(?:\w+ ){{0,2}}{_LIMITS}"
        ),
        (
            r"\b(?:reveal|show|print|repeat|output|leak|tell me|display|write) (?:me )?"
            r"(?:\w+ ){0,2}(?:system|hidden|initial|secret|developer)"
            r" (?:prompt|message|instructions)\b"
        ),
        (
            r"\b(?:no longer|not) bound by (?:\w+ ){0,3}"
            r"(?:rules|guidelines|restrictions|policies|policy)"
        ),
        r"\bnew instructions?:|\bend of (?:system )?prompt\b|\bsystem (?:override|prompt):",
        r"\bstay in character as (?:dan|aim|stan)\b",
        (
            r"\bnever (?:refuse|say no|say you can(?:no|')t)\b[^.\n]{0,60}"
            r"\b(?:user|request|question)"
        ),
        (
            r"\bfrom now on,? you (?:will|must|are going to|shall) (?:always )?"
            r"(?:obey|comply|act as|answer as|respond as|agree)"
        ),
    )
)
# Markers of ChatML, Llama, Mistral, Gemma, Phi and DeepSeek templates.
_CONTROL = (
    r"<\|(?:im_start|im_end|im_sep|endoftext|startoftext|end|system|user|assistant"
    r"|begin_of_text|end_of_text|start_header_id|end_header_id|eot_id|eom_id|python_tag"
    r"|endofprompt|fim_prefix|fim_suffix|fim_middle)\|>"
    r"|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<｜[^｜\n]{1,40}｜>"
    r"|\[/?(?:SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS)\]"
)


def measure(text: pa.Array) -> dict[str, np.ndarray]:
    """For each record, how many phrases and how many markers its text holds."""
    phrases = pc.count_substring_regex(text, _PHRASE, ignore_case=True)
    controls = pc.count_substring_regex(text, _CONTROL)
    return {
        PHRASES: phrases.to_numpy(zero_copy_only=False).astype(np.float32),
        CONTROLS: controls.to_numpy(zero_copy_only=False).astype(np.float32),
    }
