"""Each file of tests/policies is wrong in one way, and its first line is the message."""

from pathlib import Path

import pytest

from tidegate.gates.policy.load import PolicyError, load_policy

WRONG = sorted(Path(__file__).parent.joinpath("policies").glob("*.yaml"))
SHIPPED = Path(__file__).parents[1] / "policies" / "default.yaml"

GOOD = """\
policy: good
version: 1
why: a test
data:
  - {gate: fits_schema, why: a test}
model:
  - {gate: learned, at_least: 0.1, why: a test}
"""


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.stem)
def test_a_wrong_policy_is_refused_with_its_line(path: Path) -> None:
    says = path.read_text().splitlines()[0].removeprefix("# says: ")
    with pytest.raises(PolicyError) as refused:
        load_policy(path)
    separator = "" if says.startswith(":") else ":"
    assert str(refused.value) == f"{path}{separator}{says}"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"none.yaml: cannot be read: No such file"):
        load_policy(tmp_path / "none.yaml")


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"policy: \xff\xfe")
    with pytest.raises(PolicyError, match="not UTF-8 text"):
        load_policy(path)


def test_the_digest_names_what_the_policy_says_and_not_how(tmp_path: Path) -> None:
    def digest(text: str) -> str:
        path = tmp_path / "policy.yaml"
        path.write_text(text)
        return load_policy(path).digest

    first = digest(GOOD)
    assert digest("# a comment\n" + GOOD) == first
    assert digest(GOOD + "statistics: {false_pass_rate: 0.05}\n") == first  # the default
    assert digest(GOOD.replace("at_least: 0.1", "at_least: 0.2")) != first


def test_the_shipped_policy_loads_and_says_why() -> None:
    policy = load_policy(SHIPPED)
    assert all(len(use.why) > 20 for use in (*policy.data, *policy.model))
