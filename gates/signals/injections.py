"""Phrases of prompt injection and of well-known jailbreaks, and forged chat markers.

Sees: keywords only. "Ignore all previous instructions" in fourteen languages, personas
without limits ("DAN", "developer mode"), requests for the system prompt, orders that a
document addresses to whatever model reads it (see carriers), and control tokens of chat
templates inside text, which would forge a role once the template is applied.
Cannot see: an instruction in ordinary words. None of BIPIA's indirect injections has such
a phrase, and about a third of the jailbreaks found in the wild have; a text that teaches
security has them too. This names records to look at; it protects nothing alone.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.gates.signals import carriers
from tidegate.gates.signals.behaviours import refuses

PHRASES, CONTROLS = "injection_phrases", "control_tokens"
OBEYED = "obeyed_phrases"  # phrases of records whose answer does not refuse

_WHICH = (
    "all|any|the|of|my|your|these|those|every|previous|prior|above|earlier|preceding|foregoing"
    "|original|initial|existing|current"
)
_ORDERS = (
    r"(?:instructions?|prompts?|rules|directions|guidelines|directives|commands|programming"
    r"|context)"
)
_LIMITS = r"(?:restrictions?|filters?|censorship|limitations?|guidelines|moral)"
_MODEL_RULES = (
    r"(?:instructions?|guidelines|restrictions|rules|directives|programming|prompts?|filters?"
    r"|policies|safety \w+)"
)
_NO_LIMITS = (
    r"(?:without|with no|has no|have no|had no|having no|free (?:of|from)|lacks?|devoid of"
    r"|unbound by|not bound by|ignores?)"
    r" (?:any |all )?(?:\w+ ){0,2}(?:ethic\w*|moral\w*|restrictions?|filters?|censorship"
    r"|guidelines|inhibitions?|safeguards?|scruples|guardrails)\b"
)
# "Ignore the previous instructions" in other languages than English.
_TRANSLATED = (
    (
        r"\b(?:ignorier|vergiss|vergesst|missacht)\w*[^.\n]{0,40}"
        r"(?:anweisung|regeln|vorgabe|instruktion|befehl)"
    ),
    (
        r"\b(?:ignore[zr]?|oublie[zr]?) (?:toutes? |tous )?(?:les|tes|vos|ces)\b[^.\n]{0,30}"
        r"(?:instruction|consigne|règle|directive)"
    ),
    (
        r"\b(?:ignor[ae]|olvid[ae]|omit[ae]) (?:por completo |todas? |todo )*(?:las|tus|sus|estas)\b"
        r"[^.\n]{0,30}(?:instruccion|reglas|indicacion|órdenes)"
    ),
    r"\b(?:ignora|dimentica) (?:tutte )?(?:le|tue|queste)\b[^.\n]{0,30}(?:istruzion|regole)",
    r"\b(?:ignor[ea]|esqueç?c?a) (?:todas )?(?:as|suas)\b[^.\n]{0,30}(?:instruç|regras)",
    r"\b(?:negeer|vergeet)\b[^.\n]{0,30}(?:instructies|regels|opdrachten)",
    r"(?:z?ignoruj|zapomnij)[^.\n]{0,30}(?:instrukcj|polece|zasad)",
    r"(?:игнорируй|забудь|не обращай внимания)[^.\n]{0,40}(?:инструкц|указан|правил)",
    r"(?:talimat|kural)[^.\n]{0,30}(?:yok say|unut|görmezden)",
    r"(?:忽略|无视|忘记|忘掉|不要理会)[^。\n]{0,15}(?:指令|指示|规则|提示)",
    r"(?:指示|命令|ルール|プロンプト)[^。\n]{0,10}(?:無視|忘れ)",
    r"(?:지시|명령|규칙|지침)[^.\n]{0,10}(?:무시|잊)",
    r"تجاهل[^.\n]{0,30}(?:تعليمات|أوامر)",
    r"निर्देश[^.\n]{0,30}(?:अनदेखा|नज़रअंदाज|भूल)",
)
_PHRASE = "|".join(
    (
        *_TRANSLATED,
        *carriers.ORDERS,
        (
            rf"\b(?:your|all|any|previous|prior|earlier|above) (?:\w+ ){{0,2}}{_MODEL_RULES}"
            r" (?:\w+ ){0,1}(?:no longer apply|do(?:es)? not apply|don't apply|(?:are|is)"
            r" (?:now |hereby |all )?(?:void|null|lifted|suspended|disabled|overridden|revoked"
            r"|cancell?ed|superseded))"
        ),
        (
            r"\b(?:everything|anything|whatever|all) (?:that )?(?:you (?:were|have been|'ve been) "
            r"|has been |was )?(?:told|said|instructed|written|taught)? ?(?:\w+ ){0,3}"
            r"(?:before|above|earlier|so far|previously|up to now)\b[^.\n]{0,20}"
            r"\b(?:void|null|ignored|irrelevant|outdated|invalid|no longer (?:valid|applies))\b"
        ),
        (
            r"\b(?:pay no attention to|take no notice of|set aside|discard|stop obeying"
            rf"|no longer follow|cease following) (?:(?:{_WHICH}) ){{1,4}}{_ORDERS}\b"
        ),
        (
            r"\boverrid(?:e|ing) (?:all |any )?(?:your|safety) (?:\w+ ){0,2}"
            rf"(?:{_MODEL_RULES}|protocols?|settings)\b"
        ),
        (
            r"\b(?:you are|you're|you have become|act as|roleplay as|pretend|imagine|simulate"
            rf"|play|as) [^.?!\n]{{0,60}}\b{_NO_LIMITS}"
        ),
        r"\b(?:who|that|which|you|and) (?:will )?never refuses?\b",
        (
            r"\b(?:one|answer|reply|response|version|mode) (?:\w+ ){0,3}"
            r"(?:without (?:any )?(?:filters?|restrictions?|censorship)|unfiltered|uncensored)\b"
        ),
        (
            r"\bdeveloper mode\b[^.\n]{0,40}\b(?:no|without) (?:\w+ )?(?:filters?|rules|limits"
            r"|restrictions?)\b"
        ),
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
    r"|(?:^|\n)### ?(?:Response|Human|Assistant|System|User):"
)


def measure(text: pa.Array, responses: pa.Array) -> dict[str, np.ndarray]:
    """For each record, how many phrases and how many markers its text holds.

    Phrases are counted once more for records whose response does not refuse.
    """
    phrases = _count(pc.count_substring_regex(text, _PHRASE, ignore_case=True))
    controls = _count(pc.count_substring_regex(text, _CONTROL))
    obeyed = np.where(phrases > 0, phrases * ~refuses(responses), 0).astype(np.float32)
    return {PHRASES: phrases, OBEYED: obeyed, CONTROLS: controls}


def _count(found: pa.Array) -> np.ndarray:
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.float32)
