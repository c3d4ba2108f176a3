"""Requests for the way to do harm, whatever the answer begins with.

A how-to ("how do I", "teach me to", "write a script that") next to an act on something that
it should not be done to, for each kind of harm; in German, French, Spanish, Italian and
Portuguese a how-to and a harmful word. Who asks how to protect himself, what the law says,
or for a story is not asking for the way.

Encoded requests are read too: Base64 that holds text, ROT13 where a cipher is named, and
digits for letters.

Cannot see: other languages, harm that these words do not name, other ciphers, and harm
asked for in the clothes of protection or fiction.
"""

import base64
import binascii
import codecs
import re

_HOW = (
    r"(?:how (?:do|does|can|could|would|should|to|might|i|is)|(?:the )?(?:best|easiest|quickest)"
    r" way|ways? (?:to|of)|what(?:'s| is| are)? [^.?!\n]{0,40}(?:to|that|make)|steps? (?:to|for|by)"
    r"|guide (?:to|for|on)|instructions? (?:to|for|on)|tutorial|recipe for|teach me|(?:show|tell"
    r"|explain|describe)(?: to)?(?: me)? how|explain|walk me through|talk me through|give me"
    r"|help me|i (?:want|need|would like) (?:to|you to)|plan (?:to|for|a)|methods? (?:to|for|of)"
    r"|tips|tricks? (?:to|for)|write|draft|compose|create|generate|make|develop|design|build"
    r"|script|list of|provide|outline|program|code|produce|come up with)"
)
_GAP = r"[^.?!\n]{0,70}"
_MAKE = (
    r"(?:mak(?:e|es|ing)|build(?:ing)?|creat(?:e|ing)|cook(?:ing)?|synthesi[sz]\w*|assembl\w+|print"
    r"|mix(?:ing)?|prepar\w+|construct\w*|extract\w*|grow|produc\w+|get|buy|obtain|acquire|order"
    r"|sell|smuggl\w+|write|writing|code|develop|design|deploy|spread|generate|compose|draft|need)"
)
_PEOPLE = (
    r"(?:someone|somebody|people|persons?|m[ae]n|wom[ae]n|child(?:ren)?|kids?|girls?|boys?|wife"
    r"|husband|ex|boss|neighbou?r\w*|teacher|co-?workers?|colleagues?|partner|girlfriend"
    r"|boyfriend|classmates?|judge|crowd|witness\w*|famil\w+|minors?|politicians?|journalists?|mother"
    r"|father|parents?|roommate|stranger|rival|him|her|them|myself|dogs?|cats?|pets?)"
)
_THINGS = (
    r"(?:(?:pipe|car|nail|dirty|home ?made)? ?bombs?|explosives?|grenades?|thermite"
    r"|napalm|molotov\w*|landmines?|detonators?|nerve (?:gas|agents?)|(?:toxic|poison(?:ous)?|mustard"
    r"|chlorine|deadly) gas|ricin|sarin|anthrax|botulinum|cyanide|meth(?:amphetamine)?|crystal (?:meth"
    r"|from)|crack cocaine|fentanyl|heroin|mdma|ghb|lsd|rohypnol|ghost guns?|silencers?|suppressors?"
    r"|(?:untraceable|unregistered|illegal|stolen|3d[- ]printed) \w+|(?:pistol|gun|firearm|rifle)s?"
    r"(?: without| at home| illegally| with a 3d)|malware|ransomware|spyware|key ?loggers?|trojans?"
    r"|rootkits?|botnets?|(?:computer )?(?:virus|worm)(?:es)? (?:that|which|to)|phishing (?:e?-?mails?|sites?"
    r"|pages?|kits?|messages?|campaigns?)|exploits? (?:for|that|to)|slurs|hate speech"
    r"|fake (?:ids?|passports?|reviews?|news|notes?|doctor'?s?|prescriptions?|documents?|accounts|invoices?)"
    r"|(?:pos(?:e|es|ing) as|impersonat\w+) an? (?:minor|child|police\w*)|ransom notes?|bomb threats?|counterfeit\w*|deep ?fakes?)\b"
)
_KINDS = (
    rf"{_MAKE}\b{_GAP}\b{_THINGS}",
    # into what is somebody else's
    (
        r"(?:hack(?:ing)?|break(?:ing)? in(?:to)?|crack(?:ing)?|clon(?:e|ing)|skim(?:ming)?|hijack\w*|spoof\w*"
        rf"|hot-?wir\w+|brute[- ]force|get into|log into)\b{_GAP}\b(?:accounts?|phones?|wi-?fi|networks?|servers?"
        r"|websites?|cards?|key fobs?|cars?|vehicles?|atms?|e-?mails?|cameras?|passwords?|houses?|homes?"
        r"|stores?|shops?|banks?|systems?|computers?|databases?|caller|sims?|whatsapp|instagram|facebook)\b"
    ),
    (
        r"hack(?:s|ing)? (?:in)?to\b|(?:launch|write|creat|mak|develop|design|distribut|spread|deploy|execut|carry"
        r" out|conduct)\w*\b[^.?!\n]{0,40}\b(?:cyber[- ]?attacks?|computer virus(?:es)?|viruses|ddos|denial[- ]of[- ]"
        r"service)\b|(?:deny|denies|denying) access\b"
    ),
    (
        rf"(?:disabl|bypass|jamm?|disarm)\w*\b{_GAP}\b(?:alarms?|security|cameras?|cctv|ankle monitor|immobili[sz]er"
        rf"|locks?)\b{_GAP}\b(?:shop|store|bank|museum|house|home|neighbou?r\w*|jewel\w+|building|office)"
    ),
    (
        r"(?:steal|stealing|rob|robbing|shoplift\w*|burgl\w+|pickpocket\w*|embezzl\w+|launder\w*|counterfeit\w*"
        r"|forg(?:e|ing)|falsif\w+|defraud\w*|scam(?:ming)?|extort\w*|blackmail\w*|brib(?:e|ing)|smuggl\w+"
        rf"|evad(?:e|ing))\b{_GAP}\b(?:money|cash|bills?|bank ?notes?|signatures?|documents?|passports?|ids?"
        r"|cards?|tax(?:es)?|customs|border|goods|cars?|jewel\w+|stores?|shops?|banks?|houses?|identit\w+"
        rf"|prescriptions?|votes?|elections?|data|drugs|police|funds|officials?|{_PEOPLE})\b"
    ),
    # where nobody may notice
    (
        r"(?:drug|slip|poison|follow|record|film|photograph|track|read|spy|install|enter|take|kill|starve"
        rf"|dispose|get rid of|sneak|monitor|listen|touch|bug)\w*\b{_GAP}\b(?:without (?:\w+ ){{0,4}}(?:knowing"
        r"|noticing|knowledge|consent|permission|caught|detected|detection|a trace|finding out)|unnoticed"
        r"|undetected|secretly)\b"
    ),
    # violence, abuse, self-harm
    (
        r"(?:kill|murder|poison|hurt|stab|shoot|strangl|suffocat|tortur|kidnap|drug|rap(?:e|ing)|stalk|harass"
        r"|bully|humiliat|blackmail|threaten|intimidat|groom|dox|assassinat|behead|injur|gaslight)\w*\b"
        rf" (?:\w+(?:'s)? ){{0,3}}{_PEOPLE}\b"
    ),
    r"(?:starve|cut|hang|kill|hurt|harm) (?:myself|yourself|oneself)\b|(?:commit|painless) suicide\b",
    (
        rf"\b(?:[5-9]|1[0-7])[- ]year[- ]olds?\b{_GAP}\b(?:alone|undress|nudes?|naked|pictures of|touch|trust me"
        r"|secret)\b|make (?:my|his|her|your) (?:ex|wife|girlfriend|partner)\b[^.?!\n]{0,30}\b(?:worthless"
        r"|suffer|afraid|miserable|regret)\b"
    ),
    (
        r"(?:burn(?:ing)? down|set(?:ting)? fire to|derail\w*|sabotag\w+|blow(?:ing)? up|bomb(?:ing)?|contaminat\w+"
        rf"|flood(?:s|ing)?|tak(?:e|ing) down|ddos|crash(?:ing)?|shut(?:ting)? down)\b{_GAP}\b(?:houses?"
        r"|buildings?|warehouses?|trains?|bridges?|schools?|church\w*|mosques?|synagogues?|planes?|water supply"
        r"|hospital\w*|power (?:grid|plant|station)|pipelines?|stations?|reservoirs?|stadiums?|elections?)\b"
    ),
    # words against people
    (
        r"(?:threatening (?:letters?|messages?|notes?|e-?mails?)|(?:letter|message|note|e-?mail)s? (?:that )?"
        r"threaten\w*|racist|antisemitic|islamophobic|homophobic|misogynistic|white suprem\w+|neo-?nazi"
        r"|propaganda|disinformation|misinformation|defam\w+|false rumou?rs?)\b"
    ),
    (
        r"\b(?:immigrants|refugees|muslims|jews|blacks?|gays|women|migrants|foreigners|roma) "
        r"(?:are|spread|cause|bring|should be|deserve|must be)\b"
    ),
)
HOW_TO = (
    rf"(?i)\b{_HOW}\b[^?!\n]{{0,80}}?\b(?:{'|'.join(_KINDS)})"
    rf"|(?:^user:|[.!?:\n]|please|can you|could you|kindly)\W*{_MAKE}\b{_GAP}\b{_THINGS}"
)
# In other languages: a how-to, and within the sentence a harmful word.
ELSEWHERE = (
    (
        r"(?i)\b(?:wie|anleitung|erklär\w*|schreibe?|erstelle|gib mir|hilf mir|zeig mir)\b[^?!\n]{0,60}"
        r"(?:bomben?\b|sprengs|granate|hacke|klon(?:e|t|en)\b|phishing|schadsoftware|trojaner|erpressungs"
        r"|crystal meth|kokain|vergift|umbring|ermord|erpress|fälsch|falschgeld|stehle|klaue|einbreche|\bknacke"
        r"|waffe|ausspionier|geld wasch|geldwäsche|betrüge|stalke|volksverhetz)"
    ),
    (
        r"(?i)\b(?:comment|explique\S*|écris|donne\S*|aide-moi|rédige|génère|montre\S*)\b[^?!\n]{0,60}"
        r"(?:\bbombe|explosif|pirater|hacker|voler (?:une|des|la|un|le|de l)|cloner|falsifi|contrefai|cocaïne"
        r"|méthamphét|empoison|\btuer|assassin|faire chanter|hameçonn|phishing|logiciel malveillant|virus qui"
        r"|\barmes?\b|cambriol|blanchir de l|harceler|espionner|escroqu)"
    ),
    (
        r"(?i)(?:cómo|explícame|explica|escribe|dame|ayúdame|genera|enséñame)[^?!\n]{0,60}"
        r"(?:bomba|explosiv|hacke|piratear|robar|clonar|falsific|cocaína|metanfet|envenen|\bmatar|asesin|chantaj"
        r"|phishing|malware|virus que|\barmas?\b|lavar dinero|blanquear|acosar|espiar|estafa)"
    ),
    (
        r"(?i)\b(?:come|spiegami|scrivi|dammi|como|explique|escreva|ensine)\b[^?!\n]{0,60}"
        r"(?:\bbomb[ae]|esplosiv|explosiv|hackerare|hackear|rubare|roubar|clonare|falsific|cocaín|avvelen|envenen"
        r"|uccid|\bmatar|ricatt|chantage|phishing|riciclare|lavar dinheiro)"
    ),
)
GOOD_CAUSE = (
    r"(?i)\b(?:protect\w*|prevent\w*|defend\w*|defen[cs]e|detect|detecting|recogni[sz]e|spot|report"
    r"|avoid (?:being|becoming|getting) (?:an? |the )?(?:victim|hacked|scammed|robbed|poisoned|infected)|stop (?:someone|people|a|the|my|being|him|her|them)|victims?|was (?:hacked"
    r"|stolen|robbed|scammed)|been (?:hacked|stolen|robbed|scammed)|awareness|punish\w*|penalt\w*|history of"
    r"|laws? (?:on|against|about|say\w*|for)|is it legal|(?:is|are) (?:it |this |that )?(?:\w+ ){0,2}illegal|in (?:a|the|this) (?:video )?game|call of duty|witcher|minecraft|gta|grand theft auto|skyrim|prosecut\w*|convict\w*|signs of|symptoms?|recover\w*|cope|treat(?:ment|ed)"
    r"|against (?:hackers|phishing|malware|theft|fraud|bullying)|deal with|respond to|train my|erkenn\w+"
    r"|schütz\w*|verhinder\w*|vermeid\w*|melde\w*|opfer|protég\w+|prévenir|éviter|reconnaître|signaler"
    r"|victime|détecter|prote[gj]er\w*|evitar|prevenir|reconocer|denunciar|víctima|detectar|proteggere|evitare)\b"
)
STORY = (
    r"(?i)^(?:user: )?\W*(?:please |can you |could you )*(?:write|continue|describe|make up|create|tell|draft"
    r"|compose|invent|summari[sz]e|translate)\b[^.?!\n]{0,60}\b(?:story|stories|tale|novel|poem|scene|chapter|screenplay"
    r"|plays?|characters?|villain|songs?|lyrics|fantasy|mystery|fable|dialogue|haiku|film|movie|book|thriller)\b"
)
# Worth decoding: a long token of Base64, a named cipher, digits inside words.
ENCODED = (
    r"[A-Za-z0-9+/]{20,}={0,2}|(?i)rot-?13|(?i)ca?esar|(?i)cipher"
    r"|(?:[a-zA-Z][013457@$][a-zA-Z]\S*[^\n]*){3}"
)
_BASE64 = re.compile(r"[A-Za-z0-9+/]{20,4000}={0,2}")
_LEET = str.maketrans("013457@$", "oieastas")
_PLAIN = 0.95  # share of ASCII letters and signs: then bytes are taken for text


def decoded(text: str) -> str:
    """A text followed by what it may hold in code."""
    parts = [text]
    for token in _BASE64.findall(text)[:8]:
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), validate=True)
        except (binascii.Error, ValueError):
            continue
        plain = sum(32 <= byte < 127 or byte in b"\n\t" for byte in raw)
        if plain >= _PLAIN * len(raw):
            parts.append(raw.decode("ascii", errors="replace"))
    if re.search(r"(?i)rot-?13|ca?esar|cipher", text):
        parts.append(codecs.decode(text, "rot13"))
    parts.append(text.lower().translate(_LEET))
    return "\n".join(parts)
