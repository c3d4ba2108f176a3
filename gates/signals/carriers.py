"""Orders that material carries for whatever model reads it.

A page, a mail, a tool's result or a piece of code is what the user wants to have worked
on. Words in it that are meant for the model betray themselves: they name it ("AI agents:
…"), speak in its operator's name ("System: you must …"), or sit where no human looks (a
comment of HTML or code, the address of an image that is to be filled in).

Sees: these forms, in English, and forged system lines in six more languages.
Cannot see: an order that reads as the user's own (see second_orders), or a name for the
model that is not listed.
"""

MODEL = (
    r"(?:a\.?i\.?|llms?|language models?|chat ?bots?|bots?|copilots?|gpt|chatgpt|claude|gemini"
    r"|ai (?:assistants?|agents?|models?|systems?|readers?|tools?))"
)
# Verbs of orders to a machine; after a colon or a comma they are no talk about it.
_ORDER = (
    r"(?:please|always|never|before|when|you (?:must|should|will|are|have)|ignore|disregard"
    r"|do not|don't|must|should|insert|upload|download|run|execute|add|append|include|mention"
    r"|recommend|praise|rate|say|tell|answer|reply|respond|give|state|write|output|print|use"
    r"|send|forward|approve|transfer|set|skip|disable|delete|reveal|summari[sz]e|the (?:text|above)"
    r"|this (?:text|page|document))\b"
)
_SPOKEN_TO = (
    r"(?:you|your|du|sie|deine|tu|vous|debes|tienes|devi|deves|você|ты|вы|你|您|あなた|ignore"
    r"|the (?:ai|assistant)|assistant|disregard|from (?:now|this)|always|never|all (?:requests"
    r"|content)|disable|enable|comply|approve|override|answer|respond|reveal|print|agree)"
)
ORDERS = (
    # named in a note, or called
    (
        r"\b(?:note|message|instructions?|notice|hint|reminder|memo|attention)[,:]?"
        rf" (?:(?:to|for) )?(?:the |any |all |every )?{MODEL}\b(?: (?:reading|that|who|processing|which)\b)?"
        rf"[^.\n]{{0,40}}?[:,.] ?{_ORDER}"
    ),
    rf"\bif you(?: are|'re) (?:an? )?(?:{MODEL}|assistant)\b[^.?\n]{{0,40}}[,:] ?{_ORDER}",
    (
        rf"\n[>\s*]*(?:dear|hey|hello|attention|to)[ ,:]+(?:the |all |any )?(?:{MODEL}|assistants?)"
        rf"[,:!]+\s*{_ORDER}"
    ),
    rf"\b{MODEL} (?:reading|processing|that (?:reads?|process(?:es)?|summari[sz]es?)) this\b",
    # where nobody looks
    rf"<!--[^>]*\b(?:{MODEL}|assistants?)\b[^>]*-->",
    rf"(?:^|\n)[ \t>]*(?:#+|//+|/\*+|--|;|%)[ !]*(?:\w+ ){{0,4}}{MODEL}[:,] ?{_ORDER}",
    r"!\[[^\]\n]*\]\([^)\n]*(?:\{|\[|<)[^\n]*\)",
    (
        r"\"(?:note|instructions?|message|hint)_?(?:to|for)_?(?:the_)?(?:ai|assistant|model|llm|agent)"
        r"\"\s*:"
    ),
    (
        r"\"role\"\s*:\s*\"(?:system|developer)\"\s*,\s*\"content\"\s*:\s*"
        r"\"(?:you must|always|ignore|from now|never|disregard|approve|obey)"
    ),
    # in the operator's name
    (
        r"(?:^|\n)[ \t>*\[]*(?:system|developer|systemnachricht|système|sistema|sistem|система"
        r"|系统|系統|システム)(?: (?:message|prompt|note|notice|override|instructions?|update))?"
        rf"[\]*]*\s?[:：] ?{_SPOKEN_TO}"
    ),
    rf"<(?:system|sys|instructions?|admin|developer)>\s*{_SPOKEN_TO}",
    r"\[system\]\(#",
)
