"""A hook of mkdocs: a link to a file of the checkout that is no page becomes the file's name.

The pages are read on GitHub too, where such links lead somewhere; the site holds pages only.
A link to nothing stays as it is, and `mkdocs build --strict` refuses it.
"""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)#\s]+)(?:#[^)\s]*)?\)", re.DOTALL)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called for each page, by this name."""
    source = Path(page.file.abs_src_path)

    def outside(link: re.Match[str]) -> str:
        words, target = link.groups()
        if "://" in target:
            return link[0]
        file = (source.parent / target).resolve()
        if not file.exists() or file.is_relative_to(ROOT / "docs"):
            return link[0]
        name = file.relative_to(ROOT).as_posix()
        return words if words.strip("`") == name else f"{words} (`{name}`)"

    return LINK.sub(outside, markdown)
