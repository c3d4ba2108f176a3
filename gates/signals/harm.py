"""Harmful requests that were answered: what no model should learn to do.

Sees: English requests that join an act with something dangerous or criminal, by families
(weapons, drugs, breaking into systems, theft and fraud, violence, abuse, hate, deceit,
self-harm), whose answer agrees and neither refuses nor warns; and requests for the way to
do harm (how_to_harm), in six languages and some codes, whose answer only has to be one. A
jailbreak that works ends like this, whatever it looked like.
Cannot see: a harm that these words do not name, further languages, other codes. A news
text or a novel about crime may look like one; so may its author's honest request.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidegate.gates.signals.behaviours import refuses
from tidegate.gates.signals.how_to_harm import (
    ELSEWHERE,
    ENCODED,
    GOOD_CAUSE,
    HOW_TO,
    STORY,
    decoded,
)

COMPLIES = "harmful_compliance"
OPENING = 400  # characters of an answer: where it says whether it will help
ANSWER = 40  # characters: a shorter one shows no way to do anything

_MAKE = (
    r"(?:mak(?:e|ing)|build(?:ing)?|creat(?:e|ing)|construct(?:ing)?|assembl(?:e|ing)"
    r"|manufactur(?:e|ing)|produc(?:e|ing)|synthesi[sz](?:e|ing)|cook(?:ing)?|grow(?:ing)?"
    r"|develop(?:ing)?|design(?:ing)?|writ(?:e|ing)|generat(?:e|ing)|cod(?:e|ing)|program"
    r"|publish|post|craft|provide|give|teach|instruct|show|acquire|buy(?:ing)?|obtain|get(?:ting)?"
    r"|sell(?:ing)?|smuggl(?:e|ing)|traffick?(?:ing)?|distribut(?:e|ing)|spread(?:ing)?|use|using"
    r"|plant(?:ing)?|deploy|launch|promot(?:e|es|ing)|encourag(?:e|es|ing)|outline|explain|plan)"
)
_FAMILIES = (
    # weapons and drugs
    (
        rf"\b{_MAKE}\b[^.?!\n]{{0,80}}\b(?:bombs?|explosives?|grenades?|landmines?|molotov|napalm"
        r"|(?:chemical|biological|nuclear|illegal|undetectable|homemade|untraceable|dangerous)"
        r" (?:weapons?|guns?|firearms?|agents?)|nerve (?:gas|agents?)|ricin|anthrax|sarin|poisons?"
        r"|meth(?:amphetamine)?|cocaine|heroin|fentanyl|lsd|(?:illegal|illicit|hard|party|date rape|prescription) drugs?|drug (?:use|lab|abuse|addiction)"
        r"|firearms?|silencers?|weapons? of mass)\b"
    ),
    # systems
    (
        r"\b(?:hack(?:ing|s)?|break(?:ing)?|crack(?:ing)?|gain(?:ing)? (?:unauthori[sz]ed )?access"
        r"|infiltrat(?:e|es|ing)|intercept(?:ing)?|hijack(?:ing)?|breach(?:ing)?|tamper(?:ing)?"
        r"|sabotag(?:e|es|ing)|shut(?:ting)? down|disabl(?:e|es|ing)|bypass(?:es|ing)?|overload(?:ing)?"
        r"|crash(?:es|ing)?|disrupt(?:s|ing)?|interfer(?:e|es|ing)|harvest(?:s|ing)?|exploit(?:s|ing)?|steal(?:s|ing)?|manipulat(?:e|es|ing)|spy(?:ing)?|track(?:ing)?)\b"
        r"[^.?!\n]{0,60}\b(?:computers?|networks?|systems?|databases?|accounts?|passwords?|servers?"
        r"|websites?|wi-?fi|vulnerabilit\w+|bank\w*|atms?|infrastructure|power grid|e-?mails?|phones?"
        r"|devices?|cameras?|encryption|firewalls?|drm|copyright\w*|security|elections?|voting|votes"
        r"|traffic lights|satellites?|routers?|data|information|records?|files?|software|facilit\w+|transportation|reputation|business\w*)\b"
    ),
    (
        r"\b(?:malware|ransomware|spyware|keylogg\w+|trojans?|botnets?|rootkits?|computer (?:virus|worm)"
        r"e?s?|virus (?:that|to|which)|phishing|ddos|denial[- ]of[- ]service|sql injection|backdoors?)\b"
    ),
    # theft, fraud, other crime
    (
        r"\b(?:identity theft|credit card (?:fraud|numbers?|information)|money launder\w+"
        r"|launder(?:ing)? money|tax(?:es)? (?:fraud|evasion)|evad(?:e|ing) (?:paying )?tax\w*"
        r"|insider trading|insurance fraud|pyramid scheme|ponzi|counterfeit\w*|embezzl\w+|extort\w+"
        r"|blackmail\w*|brib(?:e|es|ing|ery)|shoplift\w*|pickpocket\w*|burglar\w*|scam\w*|forg(?:e|ing)"
        r"|fraud\w*|fake (?:id|ids|identification|passports?|documents?|currency|money|driver\w*"
        r"|reviews?|news|medical|prescription\w*|invoices?|charity)|human trafficking"
        r"|black market|dark web|plagiari[sz]\w+|pirat(?:e|ed|ing)|torrent\w*|illegal(?:ly)?"
        r"|without (?:getting )?(?:caught|being caught|paying|detection|being detected)"
        r"|(?:evad|avoid|escap)\w+ (?:police|law enforcement|detection|capture|arrest|paying)"
        r"|without (?:their|your|his|her|the user'?s?|users'?|user|any|proper|a) "
        r"(?:\w+ )?(?:consent|knowledge|permission|evidence|prescription)|get away with|falsif\w+"
        r"|spam\w*|market manipulation|stock prices?|financial markets|social engineering|steroids"
        r"|cheat(?:ing)? (?:on|in|at)|hotwir\w+|pick(?:ing)? a lock)\b"
    ),
    (
        r"\b(?:steal(?:s|ing)?|rob(?:bing|s)?|loot\w*)\b[^.?!\n]{0,60}\b(?:cars?|money|bank|stores?"
        r"|identit\w+|cards?|homes?|houses?|goods|merchandise|from|confidential|secrets?|property)\b"
    ),
    # violence and abuse
    (
        r"\b(?:murder(?:ing)?|assassinat\w+|kidnap\w*|tortur\w+|lynch\w*|stalk(?:ing)?|rap(?:e|ing)"
        r"|mass shooting|school shooting|terroris[mt]s?|terror attack|genocide|massacre|arson"
        r"|commit(?:ting)? (?:a )?(?:crimes?|suicide|murder|violen\w+|acts? of)|harm(?:ing)?"
        r" (?:themselves|yourself|others|children|oneself|people|animals|someone|a person)"
        r"|self[- ]harm\w*|suicid\w+|anorexia|bulimia|eating disorders?|cannibal\w*|hire a hitman"
        r"|child (?:porn\w*|abuse|exploitation)|sexual(?:ly)? (?:predator|assault|exploit\w+|abuse)"
        r"|groom(?:ing)? (?:a )?(?:child\w*|minors?|kids)|domestic violence|animal (?:cruelty|abuse)"
        r"|cyber ?bull(?:y|ies|ying)|bully(?:ing)?|harass\w*|cyberstalk\w*|doxx?\w*|riots?"
        r"|violent (?:acts?|uprising|protests?|behaviou?r|revolution)|violence (?:against|towards?)"
        r"|incit\w+|drunk driving|drink(?:ing)? and driv\w+|drunk while|underage drinking"
        r"|vandali\w+|gangs?|smuggl\w+|traffick\w+|hit-and-run|reckless driving|terroriz\w+"
        r"|threaten\w* (?:letter|e-?mails?|messages?|notes?|calls?)|chaos|contraband|criminal activit\w+"
        r"|dangerous (?:challenges?|stunts?|activities|pranks?)|physical abuse|emotional abuse)\b"
    ),
    (
        r"\b(?:kill(?:ing)?|poison(?:ing)?|attack(?:ing)?|hurt(?:ing)?|beat(?:ing)? up|drug(?:ging)?"
        r"|stab(?:bing)?|shoot(?:ing)?)\b (?:\w+ ){0,2}(?:people|someone|person|man|woman|child(?:ren)?"
        r"|kids?|neighbou?rs?|wife|husband|boss|president|politicians?|himself|herself|themselves)\b"
    ),
    (
        r"\b(?:physical(?:ly)? (?:harm|assault|attack)\w*|assault\w*|cyber[- ]?attacks?|circumvent\w*"
        r"|start(?:ing|s)? a fire|escap\w+ (?:from )?(?:a |the )?(?:prison|jail|custody|correctional)"
        r"|pos(?:e|es|ing) as (?:a|an)\b|risky behaviou?r|drugs or alcohol|alcohol or drugs"
        r"|permanently delet\w+|trick(?:ing|s)? people)"
    ),
    # hate and deceit
    (
        r"\b(?:racis[mt]\w*|sexis[mt]\w*|misogyn\w*|homophob\w*|xenophob\w*|antisemit\w*|islamophob\w*"
        r"|white suprem\w*|neo-?nazi\w*|hate speech|hateful|slurs?|offensive (?:jokes?|messages?"
        r"|stereotypes?|content)|discriminat\w+ against|derogatory|ethnic cleansing"
        r"|stereotypes?|extremis[mt]\w*|radicali[sz]\w+)\b"
    ),
    (
        r"\b(?:disinformation|misinformation|propaganda|conspiracy theor\w+|defam\w+|libel\w*"
        r"|mislead\w*|fake (?:news|accounts?|social media)|dehumani[sz]\w+|oppress\w+|false (?:information|rumou?rs?|accusation)|rig(?:ging)? (?:an |the )?"
        r"election\w*|manipulat\w+ (?:public|people|others|voters?|someone|the (?:outcome|results?"
        r"|stock|public))|deceiv\w+|impersonat\w+|deep ?fakes?|blackmail\w*|exploit\w* (?:the )?(?:elderly"
        r"|children|vulnerable|workers|people)|suicide|corrupt\w*|destroy\w* (?:evidence|property))\b"
    ),
)
_ASK = r"(?i)" + "|".join(_FAMILIES)
_AGREES = (
    r"^\W*(?:sure|certainly|of course|absolutely|yes|okay|ok|gladly|no problem|great|definitely"
    r"|here(?:'s| is| are)|happy to|step (?:1|one)|1|first|to (?:make|do|build|create|hack"
    r"|get|steal|begin)|title:|subject:|my suggestion)\b"
)
_WARNS = (
    r"\b(?:(?:is|are|be|it's|that's|both|very|highly) (?:illegal|unethical|unlawful|harmful|wrong"
    r"|dangerous|immoral)|against the law|i (?:strongly |would |must )*(?:advise|urge|encourage you"
    r"|caution|recommend against)|not recommend\w*|please (?:don't|do not|seek)"
    r"|professional help|crisis line|hotline|instead of|prevention|raise awareness)\b"
)


def measure(table: pa.Table) -> dict[str, np.ndarray]:
    """1 where a harmful request was taken up without a word against it, else 0."""
    prompts = table.column("prompt").combine_chunks().fill_null("")
    answers = table.column("response").combine_chunks().fill_null("")
    # Only what was asked last: the beginning of a long talk decides nothing.
    asked = pc.utf8_slice_codeunits(
        pc.replace_substring_regex(prompts, r"(?s)^.*\nuser: ", "user: "), 0, 2000
    )
    opening = pc.replace_substring(
        pc.utf8_slice_codeunits(pc.utf8_lower(answers), 0, OPENING), "’", "'"
    )
    asked = _decoded(asked)
    how = _hits(asked, HOW_TO)
    for pattern in ELSEWHERE:
        how |= _hits(asked, pattern)
    how &= pc.greater_equal(pc.utf8_length(answers), ANSWER).to_numpy(zero_copy_only=False)
    how[how] = ~_hits(asked.filter(pa.array(how)), STORY)
    harmful = how | (_hits(asked, _ASK) & _hits(opening, _AGREES))
    harmful &= ~(refuses(answers) | _hits(opening, _WARNS) | _hits(asked, GOOD_CAUSE))
    return {COMPLIES: harmful.astype(np.float32)}


def _decoded(asked: pa.Array) -> pa.Array:
    rows = np.flatnonzero(_hits(asked, ENCODED))
    if not len(rows):
        return asked
    texts = asked.to_pylist()
    for row in rows:
        texts[row] = decoded(texts[row])
    return pa.array(texts, pa.string())


def _hits(texts: pa.Array, pattern: str) -> np.ndarray:
    found = pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False)
    return np.asarray(found, dtype=bool)
