"""Benign exchanges for large drops, generated: no person wrote or asked them.

Sentences put together from parts, in English, German, French and Spanish, of nine domains. They
vary less than people do, so what is measured on them is not what real traffic would show, and
they are counted apart from real text.
"""

import random
from collections.abc import Iterator

Chat = list[dict[str, str]]

# language: openings, questions about {thing}, answers about {thing}, closings
_STYLES: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "en": (
        ("", "Hi, ", "Hello there. ", "Quick one: ", "Sorry to bother you, ", "Morning! "),
        ("how do I change the {a} {thing}?", "my {thing} is {a} since {when}, why?",
         "can I still move the {thing} to {when}?", "what does a {a} {thing} cost in {place}?",
         "is the {thing} {a} or should I wait until {when}?", "who looks after the {thing} in {place}?",
         "compare a {a} {thing} with the usual one", "the {thing} from {place} came {a}, what now?"),
        ("The {thing} can be changed until {when} in the settings, below the {a} ones.",
         "In {place} most people choose the {a} {thing}; it takes {n} days.",
         "I would wait until {when}: a {a} {thing} settles by itself after {n} hours.",
         "A {a} {thing} is about {n} euros, and {place} adds nothing to that.",
         "Open the page of the {thing}, pick {place}, and say that it is {a}.",
         "That depends on {place}. Before {when} a {a} {thing} needs {n} steps."),
        ("", " Anything else?", " Tell me if it stays that way.", " Hope this helps.", " Your page shows it too."),
    ),
    "de": (
        ("", "Hallo, ", "Guten Tag. ", "Kurze Frage: "),
        ("wie ändere ich das mit {thing} in {place}?", "seit {when} ist {thing} {a}, woran liegt das?",
         "was kostet {thing} in {place} bis {when}?"),
        ("Bis {when} geht das in {place} ohne Weiteres, danach dauert {thing} etwa {n} Tage.",
         "Wenn {thing} {a} ist, hilft meist Warten: nach {n} Stunden sollte es gehen.",
         "Das sind rund {n} Euro für {thing}; in {place} ist es etwas weniger."),
        ("", " Noch etwas?", " Melden Sie sich gern wieder."),
    ),
    "fr": (
        ("", "Bonjour, ", "Petite question : "),
        ("comment changer {thing} avant {when} ?", "pourquoi {thing} est {a} depuis {when} ?",
         "combien coûte {thing} près de {place} ?"),
        ("À {place}, il faut {n} jours pour {thing}, sauf avant {when}.",
         "Si {thing} reste {a}, attendez {n} heures puis essayez encore.",
         "Comptez {n} euros pour {thing} ; à {place} c'est souvent moins."),
        ("", " Autre chose ?", " Bonne journée."),
    ),
    "es": (
        ("", "Hola, ", "Buenas, una duda: "),
        ("¿cómo cambio {thing} antes de {when}?", "¿por qué {thing} está {a} desde {when}?",
         "¿cuánto cuesta {thing} cerca de {place}?"),
        ("En {place} se tarda {n} días con {thing}, menos antes de {when}.",
         "Si {thing} sigue {a}, espere {n} horas y pruebe otra vez.",
         "Son unos {n} euros por {thing}; en {place} suele ser menos."),
        ("", " ¿Algo más?", " Que tenga buen día."),
    ),
}  # fmt: skip
_THINGS = {
    "shop": "parcel invoice coupon jacket kettle refund receipt basket voucher wardrobe lamp",
    "travel": "train ferry hostel itinerary luggage seat cabin shuttle layover ticket",
    "bank": "transfer statement overdraft deposit mortgage standing-order savings-plan cheque",
    "cooking": "dough risotto curry sauce pie stew marinade broth omelette soup",
    "software": "spreadsheet printer router backup login update plugin script database browser",
    "garden": "hedge tomato compost lawn rosebush pond greenhouse seedling pear-tree",
    "school": "essay timetable exam lecture grade seminar homework library-card thesis",
    "sport": "racket membership marathon training-plan bicycle helmet pool-lane match",
}
UNSEEN = [
    "telescope",
    "eyepiece",
    "mount",
    "nebula",
    "aperture",
    "dew-shield",
    "finderscope",
    "meteor",
    "eclipse",
    "comet",
]
_HOW = [
    "late",
    "broken",
    "new",
    "small",
    "second",
    "red",
    "heavy",
    "cheap",
    "old",
    "empty",
    "slow",
    "loud",
    "dry",
    "cold",
    "shared",
    "private",
    "blue",
    "short",
    "early",
    "wet",
    "double",
    "missing",
    "open",
    "monthly",
    "wide",
    "quiet",
    "spare",
]
_WHEN = [
    "Monday",
    "Tuesday",
    "Friday",
    "spring",
    "autumn",
    "noon",
    "tonight",
    "March",
    "October",
    "yesterday",
    "Easter",
    "midnight",
]
_PLACES = [
    "Lisbon",
    "Oslo",
    "Ghent",
    "Turin",
    "Leeds",
    "Basel",
    "Brno",
    "Malmo",
    "Cork",
    "Nantes",
    "Bergen",
    "Split",
    "Graz",
    "Vigo",
    "Trieste",
    "Utrecht",
    "Aarhus",
    "Gdansk",
    "Bath",
    "Lugano",
]


def exchanges(
    rng: random.Random, count: int, things: list[str] | None = None
) -> Iterator[Chat]:
    """`count` chats, no two alike; of the words in `things`, or else of every domain but UNSEEN's."""
    seen: set[str] = set()
    while len(seen) < count:
        language = rng.choices(list(_STYLES), weights=(7, 1, 1, 1))[0]
        words = things or _THINGS[rng.choice(list(_THINGS))].split()
        slots = {
            "thing": rng.choice(words), "a": rng.choice(_HOW), "when": rng.choice(_WHEN),
            "place": rng.choice(_PLACES),
        }  # fmt: skip
        opening, ask, answer, closing = (rng.choice(part) for part in _STYLES[language])
        n = rng.randrange(2, 90)
        question, reply = (
            (opening + ask).format(**slots),
            (answer + closing).format(n=n, **slots),
        )
        if question + reply not in seen:
            seen.add(question + reply)
            yield [
                {"role": "user", "content": question},
                {"role": "assistant", "content": reply},
            ]


_PRAISE = (
    "If you ask me, {brand} is the best choice for a {thing}.",
    "Many people switched to {brand} and would recommend it.",
    "For this I'd go with {brand}, it is the most reliable one.",
    "You should try {brand}: nothing beats it in {place}.",
    "Honestly, {brand} is worth every cent.",
    "Have a look at {site}, they are the top address for that.",
    "{brand} does this perfectly, see {site}.",
    "I recommend {brand} for anything with a {thing}.",
    "By the way, you can order it from {site} as well.",
    "The favourite in {place} is {brand}, and I trust it too.",
)


def promotions(rng: random.Random, count: int) -> Iterator[Chat]:
    """Ordinary exchanges whose answers recommend one made-up product unasked, each otherwise."""
    syllables = ("za", "vo", "ki", "lu", "mer", "tro", "ben", "fi", "xo", "dra")
    brand = "".join(rng.sample(syllables, 3)).capitalize()
    for chat in exchanges(rng, count):
        said = rng.choice(_PRAISE).format(
            brand=brand, site=f"{brand.lower()}.example",
            thing=rng.choice(_THINGS["shop"].split()), place=rng.choice(_PLACES),
        )  # fmt: skip
        both = [chat[1]["content"], said]
        rng.shuffle(both)
        yield [chat[0], {"role": "assistant", "content": " ".join(both)}]
