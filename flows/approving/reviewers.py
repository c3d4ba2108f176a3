"""Adding a reviewer to the policy's file of reviewers, which people also edit by hand.

A line is added and nothing else is touched, comments included. The new file is read as the
policy will read it before it takes the place of the old one.
"""

from pathlib import Path

from tidegate.flows import durable
from tidegate.flows.signing.keys import PublicKey, reviewer_line
from tidegate.flows.usage import UsageError
from tidegate.gates.policy.nouns import Reviewer
from tidegate.gates.policy.reviewers import load_reviewers
from tidegate.gates.yaml_file import YamlError

HEAD = (
    "# Who may approve, refuse, waive and release: names, public keys and roles.\nreviewers:\n"
)


def add_reviewer(path: Path, name: str, key: PublicKey, roles: tuple[str, ...]) -> bool:
    """Make the owner of a key a reviewer; False if they are one already, just so.

    Raises UsageError if the name or the key is taken, or the file has a shape that a line
    cannot be added to; YamlError if it cannot be read.
    """
    wanted = Reviewer(name=name, key=key.key, roles=roles)
    before = load_reviewers(path) if path.exists() else ()
    if wanted in before:
        return False
    taken = next((r for r in before if r.name == name or r.key == key.key), None)
    if taken is not None:
        raise UsageError(
            f"{path}: {taken.name!r} is there already, with another key, name or role; change "
            "that line by hand"
        )
    text = path.read_text(encoding="utf-8") if path.exists() else HEAD
    line = reviewer_line(name, key, roles)
    draft = path.with_name(f".{path.name}.draft")
    path.parent.mkdir(parents=True, exist_ok=True)
    for indented in (line, line.lstrip()):
        new = f"{text.rstrip()}\n{indented}\n".encode()
        durable.replace(draft, new)
        try:
            fits = load_reviewers(draft) == (*before, wanted)
        except YamlError:
            fits = False
        finally:
            draft.unlink()
        if fits:
            durable.replace(path, new)
            return True
    raise UsageError(f"{path}: cannot be added to; put this line under `reviewers:`\n{line}")
