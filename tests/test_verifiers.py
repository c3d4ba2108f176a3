"""What each verifier takes for right; where it is unsure, the answer is not."""

import pytest

from tidegate.training.verifiers import VERIFIERS, verifier


@pytest.mark.parametrize(
    ("name", "answer", "accepted", "right"),
    [
        ("exact", " It is 7.\n", "It is 7.", True),
        ("exact", "it is 7.", "It is 7.", False),
        ("exact", "", " ", None),
        ("normalised", "the  Answer: “SEVEN”!", "answer seven", True),
        ("normalised", "not seven", "seven", False),
        ("normalised", "-7", "7", False),  # a sign is no punctuation
        ("normalised", "7.5", "75", False),
        ("normalised", "1/2", "12", False),
        ("normalised", "5%", "5", False),
        ("normalised", "", "?!", None),
        ("last_line", "Half of 14.\n\nSo it is:\nSeven.\n", "Add up.\nseven", True),
        ("last_line", "Seven.\nOr is it?", "Seven.", False),
        ("last_line", "", "", None),
        ("last_number", "3 and 4 make 7.", "It is 7", True),
        ("last_number", "It costs 1,234.50 crowns", "1234.5", True),
        ("last_number", "It is -7", "7", False),
        ("last_number", "1-7", "7", True),
        ("last_number", "7, and not 8", "7", False),
        ("last_number", "as of v2.7", "7", False),
        ("last_number", "none", "7", False),
        ("last_number", "7", "seven", None),
    ],
)
def test_a_verifier_says(name: str, answer: str, accepted: str, right: bool | None) -> None:
    assert VERIFIERS[name](answer, accepted) is right


def test_a_verifier_has_one_name_and_says_what_it_does() -> None:
    def exact(answer: str, accepted: str) -> bool | None:
        """Another."""
        return answer == accepted

    def silent(answer: str, accepted: str) -> bool | None:
        return answer == accepted

    with pytest.raises(ValueError, match="two verifiers"):
        verifier(exact)
    with pytest.raises(ValueError, match="no docstring"):
        verifier(silent)
    assert "silent" not in VERIFIERS
