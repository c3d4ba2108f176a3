"""no_personal_data: what is learned holds no structured personal data.

Sees: e-mail addresses, telephone numbers, payment cards, IBANs, public IP addresses, US
social security numbers, crypto wallets, licence and id numbers, number plates, postal
addresses with a number in them, dates that are called dates of birth, MAC addresses and
coordinates. `locales` are the countries whose telephone numbers and ids are known by form
alone; what the text itself calls a telephone or an id is seen without.
With `names` masking also replaces the names and addresses of people that a small English
language model marks, in every kept record; no record is refused for one of these, and the
model misses about a third of them.
Cannot see: other names, anything spelled out in words, and ids of countries that
have no rule. It cannot tell a shop's address or telephone from a person's.
"""

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from tidegate.gates.gate import RowParams, RowRule, gate
from tidegate.gates.record_limits import within_limits
from tidegate.gates.tighter import FREE, MORE, ranked
from tidegate.gates.types import BatchEvidence, Verdict

Kind = Literal[
    "email", "phone", "card", "iban", "ip", "ssn", "wallet", "id_number", "address",
    "birth_date", "device", "coordinates",
]  # fmt: skip
Locale = Literal[
    "us", "gb", "ca", "ie", "au", "nz", "in", "sg", "za", "de", "at", "ch", "fr", "be", "nl",
    "es", "pt", "br", "mx", "it", "se", "no", "dk", "fi", "pl", "cz", "hu", "ro", "gr", "tr",
    "il", "ae", "jp", "kr", "cn",
]  # fmt: skip
WORDS: dict[Kind, str] = {
    "email": "an e-mail address",
    "phone": "a telephone number",
    "card": "a payment card number",
    "iban": "a bank account number",
    "ip": "an IP address",
    "ssn": "a social security number",
    "wallet": "a crypto wallet",
    "id_number": "an id or licence number",
    "address": "a postal address",
    "birth_date": "a date of birth",
    "device": "a MAC address or IMEI",
    "coordinates": "coordinates of a place",
}


class PersonalData(RowParams):
    kinds: Annotated[list[Kind], MORE] = Field(
        default=list(WORDS), min_length=1, description="what counts as personal data"
    )
    locales: Annotated[list[Locale], MORE] = Field(
        default=list(get_args(Locale)),
        min_length=1,
        description="countries whose telephone numbers and ids are known by form alone",
    )
    replace_with: Annotated[Literal["surrogate", "placeholder"], FREE] = Field(
        default="surrogate",
        description="what masking puts there: a value of the same type that is nobody's, "
        "or a name such as [EMAIL_1]",
    )
    names: Annotated[bool, ranked(False, True)] = Field(
        default=False,
        description="mask names and addresses of people as well (needs the extra `names`)",
    )

    @model_validator(mode="after")
    def _names_are_masked(self) -> Self:
        if self.names and not self.mask:
            raise ValueError("names are found to be masked, no more; add mask: true")
        return self


def rows(p: PersonalData) -> tuple[RowRule, ...]:
    return tuple(RowRule(f"pii_{kind}", 0, f"contains {WORDS[kind]}") for kind in p.kinds)


@gate(rows=rows)
def no_personal_data(p: PersonalData, evidence: BatchEvidence) -> Verdict:
    """At most max_records kept records contain structured personal data."""
    return within_limits(p, evidence, "no_personal_data", "records with personal data")
