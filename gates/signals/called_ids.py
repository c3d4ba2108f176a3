"""Ids that the text itself names: a licence, a passport, a tax id, an account, a number plate.

Sees: what stands behind such a name, whatever its form, if it holds five digits; behind the
name of a number plate, capitals and digits together. The names are those of ids of all
countries, so that no locale pack is needed.
Cannot see: a number whose name is in another line or behind it, and ids that are words.
"""

from collections.abc import Iterator

from tidegate.gates.signals.linear_regex import Regex
from tidegate.gates.signals.text import Finding, as_ascii

# A letter that is not ASCII is searched as the one that as_ascii makes of it.
_NAMES = as_ascii(
    r"driv\w{0,5}(?:'s|s)?[ _-]?(?:licen[cs]e|permit)|licen[cs]e (?:n\w{1,5}|#)|\bdl\b ?#?"
    r"|f[üu]e?hrerschein\w{0,7}|permis de conduire|patente(?: di guida)?\b|carn?et de conducir"
    r"|rijbewijs\w{0,7}|k[öo]rkort\w{0,8}"
    r"|passport|reisepass\w{0,7}|passeport|pasaporte|passaporto|passaporte|paspoort\w{0,7}"
    r"|paszport\w{0,3}"
    r"|national[ _]id\w{0,5}|(?:identity|id)[ _]card|(?:identity|id)[ _]number"
    r"|\btax[ _](?:id|file|payer id|number)|taxpayer id|social insurance|social security"
    r"|insurance|national insurance|\bni (?:no\b|number)|medical record|medicare|health card"
    r"|policy (?:n\w{1,5}|#)|member(?:ship)? ?(?:id|n\w{1,5}|#)|patient (?:id|n\w{1,5}|#)"
    r"|krankenversicher\w{0,12}|versicherten\w{0,7}"
    r"|\b(?:nhs|nino|itin|mrn|ein|ssn|sin|tfn|abn|npi|ird|bsn|cpf|cnpj|rut|curp|dni|nie|nif"
    r"|nir|nrn|ahv|avs|svnr|pesel|nip|cnp|amka|oib|jmbg|egn|afm|pan|aadhaa?r|fin|nric|hkid|rrn"
    r"|my ?number|cpr|vin)\b"
    r"|steuer(?:liche)?[ -]?(?:id|identifikations?nummer|nummer)|personalausweis\w{0,9}"
    r"|sozialversicherungs?nummer|s[ée]curit[ée] sociale|codice[ _]fiscale|codigo fiscal"
    r"|burgerservicenummer|rijksregister\w{0,7}|personnummer|personnr|fødselsnummer"
    r"|henkilötunnus|rodné[ _]číslo|személyi[ _]szám|isikukood|teudat zehut|kimlik|c[ée]dula"
    r"|(?:routing|account|bank account) ?(?:n\w{1,5}|#)|\bacct\b\.?|\ba/c\b|\bacc no\b\.?"
    r"|\b(?:bank )?account|sort code|\bs/c\b|konto(?:nummer|nr)|vehicle identification"
).decode()
_LINK = (
    r"\.?(?:[ _-]?(?:number|nummer|numero|no\b\.?|num\b\.?|nr\b\.?|n[?.z]|id\b|card|code|#))?"
    r"(?: ?\([^)\n]{1,16}\))?(?:'s)?['\"]?\*{0,2}"
    r"(?:[ \t]{0,2}(?:is|was|ist|est|es|to|[:#=>|-]{1,2})){0,3}\*{0,2}[ \t]{0,2}['\"#(]{0,2}"
)
_CALLED = Regex(
    rf"(?i:(?:{_NAMES}){_LINK})"
    r"((?:[A-Z]{1,6}[- ]?){0,2}[A-Za-z]{0,6}\d[A-Za-z0-9]*"
    r"(?:[-+./ ](?:[A-Z]{1,3}\b|[A-Za-z]{0,4}\d[A-Za-z0-9]*)){0,6})"
)
_PLATE = Regex(
    r"(?i:\b(?:(?:licen[cs]e|number|car|vehicle) ?(?:plate|reg\w{0,10})|plates?|kennzeichen|reg"
    r"|registration|immatriculation|matrzcula|targa|kenteken|nummernschild|regnr)"
    rf"{_LINK})"
    r"([A-Z0-9]{1,4}(?:[- ]?[A-Z0-9]{1,4}){1,4})(?:[^0-9A-Za-z]|$)"
)


def find(text: bytes) -> Iterator[Finding]:
    """Ids in an ASCII text (see text.as_ascii)."""
    for match in _CALLED.finditer(text):
        if _digits(match.group(1)) >= 5:
            yield Finding("id_number", match.start(1), match.end(1))
    for match in _PLATE.finditer(text):
        value = match.group(1)
        if _digits(value) >= 2 and any(65 <= c <= 90 for c in value) and len(value) >= 5:
            yield Finding("id_number", match.start(1), match.end(1))


def _digits(value: bytes) -> int:
    return sum(c in b"0123456789" for c in value)
