"""Who asked for an update: named, or the user of the process, or nobody and no update."""

import getpass

import pytest

from tidegate.flows.provenance import login_name
from tidegate.flows.usage import UsageError


def test_the_requester_is_whoever_runs_the_process() -> None:
    assert login_name() == getpass.getuser() != ""


def test_a_user_without_a_name_has_to_give_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(getpass, "getuser", nobody)
    with pytest.raises(UsageError, match="--requester"):
        login_name()
