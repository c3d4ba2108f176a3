"""What a telephone number looks like in a country, from the metadata of phonenumbers.

Its patterns and groupings are compiled into one RE2 pattern for all chosen countries: its
own parser would be asked once a country for each number, which a hostile text makes slow.
"""

import re
from functools import cache
from typing import Any, NamedTuple

from tidegate.gates.signals.linear_regex import Regex

_GROUP = re.compile(r"\((?:\\d|\[[^\]]+\])(?:\{(\d+)(?:,(\d+))?\})?[^()]*\)")


class Region(NamedTuple):
    """`valid` is over the digits alone, `grouped` over lengths of groups, such as 3-2-2-2."""

    valid: Regex
    mobile: Regex
    prefixed: Regex
    shapes: frozenset[tuple[int, ...]]


@cache
def regions(locales: frozenset[str]) -> Region | None:
    """The numbers of some countries (two-letter codes, lower case) together."""
    valid, mobile, prefixed = [], [], []
    shapes: set[tuple[int, ...]] = set()
    for locale in sorted(locales):
        found = _metadata(locale)
        prefix = re.escape(found.national_prefix or "")
        optional = f"(?:{prefix})?" if prefix else ""
        kinds = [
            kind.national_number_pattern
            for kind in (found.fixed_line, found.mobile)
            if kind and kind.national_number_pattern and kind.national_number_pattern != "NA"
        ]
        valid.append(f"{optional}(?:{'|'.join(kinds)})")
        if found.mobile and found.mobile.national_number_pattern:
            mobile.append(f"{optional}(?:{found.mobile.national_number_pattern})")
        if prefix == "0":  # the one trunk prefix that ordinary numbers do not begin with
            prefixed.append(f"0(?:{'|'.join(kinds)})")
        for style in _formats(found):
            shapes |= _shapes(style, found.national_prefix or "")
    if not valid:
        return None
    return Region(
        valid=_either(valid),
        mobile=_either(mobile),
        prefixed=_either(prefixed),
        shapes=frozenset(shape for shape in shapes if len(shape) > 1),
    )


def _either(patterns: list[str]) -> Regex:
    """Any of them, over the whole number; nothing, if there are none."""
    return Regex(f"^(?:{'|'.join(patterns) or '[^0-9]'})$")


def _metadata(locale: str) -> Any:
    from phonenumbers.phonemetadata import PhoneMetadata

    found = PhoneMetadata.metadata_for_region(locale.upper(), None)
    if found is None:
        raise ValueError(f"phonenumbers knows no country {locale!r}")
    return found


def _formats(found: Any) -> Any:
    """Countries that share a code, such as Canada, share the formats of the main one."""
    from phonenumbers.phonenumberutil import region_code_for_country_code

    main = region_code_for_country_code(found.country_code)
    return found.number_format or _metadata(main.lower()).number_format


def _shapes(style: Any, prefix: str) -> set[tuple[int, ...]]:
    """The lengths of groups in which a number is written, with and without its prefix."""
    pieces = re.findall(r"\\d|\[[^\]]+\]", style.pattern)
    groups = [
        (int(low or 1), int(high or low or 1)) for low, high in _GROUP.findall(style.pattern)
    ]
    if not groups or len(pieces) < len(groups) or len(groups) != style.pattern.count("("):
        return set()
    made: set[tuple[int, ...]] = {()}
    for low, high in groups:
        made = {(*one, n) for one in made for n in range(low, high + 1)}
    rule = re.sub(r"[ ()]", "", style.national_prefix_formatting_rule or "")
    if prefix and f"{prefix}\\1" in rule:
        made |= {(one[0] + len(prefix), *one[1:]) for one in made}
    return made
