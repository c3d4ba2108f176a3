"""Made-up chats for the privacy benchmark: labelled values, secrets, and clean texts.

The numbers are drawn with a seed and belong to nobody; check digits are right. The forms were
written for this benchmark, apart from the patterns that it measures.
"""

import random
import string
from collections.abc import Callable
from typing import Any

from tidegate.gates.signals.national_ids import luhn
from tidegate.gates.signals.surrogates import mod97

DIGITS, HEX, MIXED = string.digits, "0123456789abcdef", string.ascii_letters + string.digits
Row = dict[str, Any]
Maker = Callable[[random.Random], str]


def _some(rng: random.Random, letters: str, n: int) -> str:
    return "".join(rng.choices(letters, k=n))


def _card(rng: random.Random) -> str:
    body = rng.choice(("4", "51", "37", "6011")) + _some(rng, DIGITS, 15)
    body = body[: 14 if body.startswith("37") else 15]
    whole = next(body + c for c in DIGITS if luhn((body + c).encode()))
    mark = rng.choice(("", " ", "-"))
    return mark.join(whole[i : i + 4] for i in range(0, len(whole), 4))


def _iban(rng: random.Random) -> str:
    body = _some(rng, DIGITS, 18)
    whole = f"DE{98 - mod97(f'DE00{body}'.encode()):02d}{body}"
    return rng.choice((whole, " ".join(whole[i : i + 4] for i in range(0, 22, 4))))


def _phone(rng: random.Random) -> str:
    a, b, c = str(rng.randrange(201, 989)), str(rng.randrange(200, 999)), _some(rng, DIGITS, 4)
    return rng.choice(
        (
            f"({a}) {b}-{c}",
            f"{a}.{b}.{c}",
            f"+1 {a} {b} {c}",
            f"+44 20 7{b} {c}",
            f"0{a} {b}{c}",
        )
    )


def _email(rng: random.Random) -> str:
    name, host = _some(rng, string.ascii_lowercase, 7), _some(rng, string.ascii_lowercase, 6)
    return rng.choice((f"{name}@{host}.com", f"{name}.lee+x@mail.{host}.co.uk"))


def _ssn(rng: random.Random) -> str:
    return (
        f"{rng.randrange(1, 660):03d}-{rng.randrange(1, 99):02d}-{rng.randrange(1, 9999):04d}"
    )


def _ip(rng: random.Random) -> str:
    return ".".join(str(rng.randrange(low, 127)) for low in (11, 1, 1, 1))


def _address(rng: random.Random) -> str:
    name = rng.choice(("Elm", "Harbour View", "Old Mill", "Acacia", "Kingfisher"))
    street = rng.choice(("Street", "Road", "Avenue", "Lane"))
    return f"{rng.randrange(1, 999)} {name} {street}"


VALUES: dict[str, Maker] = {
    "CREDIT_CARD": _card,
    "IBAN_CODE": _iban,
    "PHONE_NUMBER": _phone,
    "EMAIL_ADDRESS": _email,
    "US_SSN": _ssn,
    "IP_ADDRESS": _ip,
    "STREET_ADDRESS": _address,
}
_SAID = {
    "CREDIT_CARD": ("please charge {}", "my card is {}, it was declined", "{} exp 04/29"),
    "IBAN_CODE": ("transfer it to {} today", "IBAN {}"),
    "PHONE_NUMBER": ("call me on {}", "my number is {}, after six", "Contact: {}"),
    "EMAIL_ADDRESS": ("write to {} please", '{{"name": "Ann", "email": "{}"}}'),
    "US_SSN": ("my SSN is {}", "applicant {}, approved"),
    "IP_ADDRESS": ("login from {} was not me", "ping {} fails"),
    "STREET_ADDRESS": ("I live at {}.", "ship it to {} instead"),
}
_CLEAN: tuple[Maker, ...] = (
    lambda r: (
        f"Order {_some(r, DIGITS, 4)}-{_some(r, DIGITS, 4)} shipped, see #{r.randrange(9**8)}."
    ),
    lambda r: (
        f"Version {r.randrange(9)}.{r.randrange(30)}.{r.randrange(30)}, build {r.randrange(9**5)}"
    ),
    lambda r: f"commit {_some(r, HEX, 40)} and sha256:{_some(r, HEX, 64)}",
    lambda r: f"x = {r.random() * 100:.8f}, loss {r.random():.4f}",
    lambda r: f"It cost ${r.randrange(9999)}.99 on 2024-05-{r.randrange(10, 28)} at 12:30",
    lambda r: "Use api_key=your-api-key, or OPENAI_API_KEY=sk-xxxxxxxxxxxxxxxxxxxx",
    lambda r: "My password is not accepted. How do I reset the wifi password?",
    lambda r: "token = tokenizer.decode(ids[0]); password = input('Password: ')",
    lambda r: f"The population was {r.randrange(1, 9)},{r.randrange(100, 999)},000 in 2020.",
    lambda r: "नमस्ते, क्‍या हाल है? 👩‍👩‍👧 שלום 你好，第3章",
    lambda r: (
        f"Bake {r.randrange(100, 400)} g flour at 180 C for {r.randrange(10, 60)} minutes"
    ),
    lambda r: "look at example.org and meet at 5, then write chapter 12 on page 345",
)
_SECRETS: tuple[Maker, ...] = (
    lambda r: "ghp_" + _some(r, MIXED, 36),
    lambda r: "sk-proj-" + _some(r, MIXED, 60),
    lambda r: "AKIA" + _some(r, string.ascii_uppercase + "234567", 16),
    lambda r: "xoxb-" + _some(r, DIGITS, 12) + "-" + _some(r, MIXED, 24),
    lambda r: "glpat-" + _some(r, MIXED, 20),
    lambda r: "postgres://app:" + _some(r, MIXED, 14) + "@db.internal/prod",
    lambda r: "Authorization: Bearer " + _some(r, MIXED, 40),
    lambda r: "DB_PASSWORD=" + _some(r, MIXED, 12) + "7",
    lambda r: "my password is " + _some(r, string.ascii_lowercase, 7) + _some(r, DIGITS, 3),
    lambda r: "log in as ann with " + _some(r, MIXED, 9) + "!4",
    lambda r: "algolia admin key: " + _some(r, HEX, 32),
    lambda r: f"eyJ{_some(r, MIXED, 30)}.eyJ{_some(r, MIXED, 60)}.{_some(r, MIXED, 43)}",
)


def labelled(n: int, seed: int = 0) -> list[Row]:
    """Chats with one value each, in the form of presidio-research."""
    rng, rows = random.Random(seed), []
    for i in range(n):
        kind = list(VALUES)[i % len(VALUES)]
        value = VALUES[kind](rng)
        before, after = (
            rng.choice(_SAID[kind]).replace("{{", "{").replace("}}", "}").split("{}")
        )
        before = f"hi, one question. {before}"
        span = {
            "entity_type": kind,
            "start_position": len(before),
            "end_position": len(before) + len(value),
        }
        rows.append({"full_text": before + value + after, "spans": [span]})
    return rows


def clean(n: int, seed: int = 0) -> list[str]:
    """Chats with nothing personal or secret in them, and much that looks like it."""
    rng = random.Random(seed)
    return ["\n".join(make(rng) for make in rng.choices(_CLEAN, k=3)) for _ in range(n)]


def secrets(n: int, seed: int = 0) -> list[str]:
    """Chats with a secret each."""
    rng = random.Random(seed)
    return [f"it fails with this:\n{_SECRETS[i % len(_SECRETS)](rng)}\nwhy?" for i in range(n)]
