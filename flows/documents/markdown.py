"""Templates that make Markdown in which a text from outside stays text.

Every string that a template prints is escaped for Markdown and for HTML, on one line, without
invisible characters; only what is marked as ours stays as it is.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tidegate.flows.reviewing.page import escaped
from tidegate.flows.reviewing.wording import OUTCOME, amount, change, clean, level, number

TEMPLATES = Path(__file__).parent / "templates"
LONGEST = 600  # characters of one text


class DocumentError(Exception):
    """A document that those who read its format would not take as it was meant."""


def render(template: str, **values: Any) -> str:
    """A template of this folder, as Markdown that ends with a newline."""
    return _templates().get_template(template).render(**values).rstrip() + "\n"


def word(text: str) -> Markup:
    """A name for a command line, where nothing is escaped: NAME if it is no plain word."""
    plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", text)
    return Markup(text) if plain else Markup("NAME")


def code(text: str) -> Markup:
    """A short text in a code span, where nothing is escaped either."""
    return Markup("`{}`").format(Markup(re.sub(r"[`<>&|\\]", "�", clean(text, 100)) or "–"))


def decimal(text: str | None) -> str:
    """A recorded decimal string as people read it."""
    return number(None if text is None else float(text))


@cache
def _templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: Markup(escaped(value, LONGEST)) if type(value) is str else value,
    )
    made.filters |= {
        "amount": amount,
        "change": change,
        "code": code,
        "decimal": decimal,
        "level": level,
        "word": word,
    }
    made.globals |= {"OUTCOME": OUTCOME}
    return made
