"""Regular expressions in linear time: the text comes from strangers, so only RE2 will do."""

from collections.abc import Iterator
from typing import Any

import re2


class Regex:
    """A RE2 pattern over ASCII bytes (see text.as_ascii), or over UTF-8 if that is said.

    Raises ValueError for a pattern that RE2 does not take.
    """

    def __init__(self, pattern: str, *, ignore_case: bool = False, utf8: bool = False) -> None:
        options = re2.Options()
        options.log_errors = False
        options.case_sensitive = not ignore_case
        options.max_mem = 64 << 20
        encodings = re2.Options.Encoding
        options.encoding = encodings.UTF8 if utf8 else encodings.LATIN1
        try:
            self._compiled = re2.compile(pattern.encode("utf-8"), options)
        except re2.error as error:
            raise ValueError(f"not a RE2 pattern: {error}") from None

    @property
    def groups(self) -> int:
        """How many groups it has."""
        return int(self._compiled.groups)

    def finditer(self, text: bytes) -> Iterator[Any]:
        matches: Iterator[Any] = self._compiled.finditer(text)
        return matches

    def search(self, text: bytes) -> Any:
        """The first match, or None."""
        return self._compiled.search(text)
