"""Hooks of mkdocs: decisions are listed by themselves, and links out of the site become names.

The pages are read on GitHub too, where links to files of the checkout lead somewhere; the site
holds pages only, so there such a link becomes the file's name.
A link to nothing stays as it is, and `mkdocs build --strict` refuses it.
"""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)#\s]+)(?:#[^)\s]*)?\)", re.DOTALL)


def on_config(config: Any, **_: Any) -> Any:
    """Called once, by this name: each decision goes into the navigation under its title."""
    (section,) = (part for part in config.nav if "Decisions" in part)
    for file in sorted((ROOT / "docs/adr").glob("[0-9]*.md")):
        title = file.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        section["Decisions"].append({title: f"adr/{file.name}"})
    return config


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
