"""Who may approve and waive: public keys with names and roles, in a YAML file.

reviewers:
  - name: ada
    key: 3q2+7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
    roles: [model-reviewer]
"""

import base64
import binascii
from pathlib import Path

from pydantic import Field

from tidegate.gates.policy.nouns import Reviewer
from tidegate.gates.types import Noun
from tidegate.gates.yaml_file import YamlFile


class _Reviewers(Noun):
    reviewers: list[Reviewer] = Field(min_length=1)


def load_reviewers(path: Path) -> tuple[Reviewer, ...]:
    """The reviewers in the order of the file; YamlError with the line of a mistake."""
    file = YamlFile(path)
    found = file.parse(_Reviewers, file.data).reviewers
    for i, reviewer in enumerate(found):
        where = ("reviewers", i)
        if not _is_key(reviewer.key):
            raise file.error(
                (*where, "key"), "key: not an Ed25519 public key (base64 of 32 bytes)"
            )
        for other in found[:i]:
            # One person under two names would make a quorum alone.
            if other.key == reviewer.key or other.name == reviewer.name:
                raise file.error(where, f"{reviewer.name!r} is already there as {other.name!r}")
    return tuple(found)


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == 32
    except (binascii.Error, ValueError):
        return False
