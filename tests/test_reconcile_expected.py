"""What must be, from statements alone: no MLflow, no disk."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tidegate.flows.reconciling.aliases import alias_findings, unfinished
from tidegate.flows.reconciling.expected import Aliases, Expected, expected
from tidegate.flows.reconciling.finding import Kind
from tidegate.gates.audit import BrokenLedger, Statement, statement
from tidegate.gates.digest import digest_bytes

NOW = datetime(2026, 11, 9, tzinfo=UTC)
Written = tuple[str, Statement]


def said(act: str, *, model: str = "m", **about: Any) -> Written:
    """A statement, named after its act and version."""
    name = f"{act} {about.get('version', '')} {about.get('action', '')}{len(about)}"
    subjects = {"base": digest_bytes(b"base"), "adapter": digest_bytes(name.encode())}
    record = statement(
        act=act,
        model=model,
        subjects=subjects,
        about={"decision_id": name, **about},
        decided_at=NOW,
    )
    return digest_bytes(name.encode()), record


def decide(version: str, parent: str, action: str = "promote", **more: Any) -> Written:
    return said("decide", version=version, parent=parent, action=action, **more)


def again(before: Written, action: str = "promote") -> Written:
    about = before[1]["predicate"]["about"]
    return said("decide", **{**about, "action": action, "supersedes": before[0], "again": True})


BLESS = said("bless", action="promote")
TWO, THREE = decide("2", "1"), decide("3", "2")
HELD = decide("4", "3", "hold")


def back(to: str, was: str) -> Written:
    return said("rollback", version=to, was=was, reason="a test")


@pytest.mark.parametrize(
    ("written", "champion", "previous"),
    [
        ([], None, None),
        ([BLESS], "1", None),
        ([BLESS, BLESS], "1", None),
        ([BLESS, TWO, THREE], "3", "2"),
        ([BLESS, TWO, THREE, HELD], "3", "2"),
        ([BLESS, TWO, THREE, HELD, again(HELD)], "4", "3"),
        ([BLESS, TWO, THREE, HELD, again(HELD, "reject")], "3", "2"),
        ([BLESS, TWO, THREE, back("2", "3")], "2", "1"),
        ([BLESS, TWO, THREE, back("1", "3")], "1", None),
        ([BLESS, TWO, THREE, back("2", "3"), back("3", "2")], "3", "2"),
        # Compared with a version that does not serve: never carried out by the registry.
        ([BLESS, TWO, THREE, decide("5", "1")], "3", "2"),
        ([BLESS, TWO, THREE, back("2", "3"), decide("5", "3")], "2", "1"),
        # The promotion of 3 was killed for good, and the next update began at 2.
        ([BLESS, TWO, THREE, decide("5", "2")], "5", "2"),
        # What moves nothing.
        ([BLESS, TWO, said("approve", version="3"), said("refuse", version="2")], "2", "1"),
        ([BLESS, TWO, said("repair", version="1", aliases={"champion": "1"})], "2", "1"),
        ([BLESS, TWO, said("decide", model="n", version="9", action="promote")], "2", "1"),
        # Erased versions are no way back.
        ([BLESS, TWO, THREE, said("erase", versions=["2"])], "3", "1"),
        ([BLESS, TWO, THREE, said("erase", versions=[2, 1])], "3", None),
        ([BLESS, TWO, said("erase", versions=["2"]), THREE], "3", "1"),
    ],
)
def test_where_the_aliases_must_be(
    written: list[Written], champion: str | None, previous: str | None
) -> None:
    must = expected(written, "m")
    assert (must.now.champion, must.previous) == (champion, previous)
    assert must.now.anchor == ("1" if written else None)


def test_the_later_statement_about_a_version_counts() -> None:
    must = expected([BLESS, TWO, THREE, HELD, again(HELD)], "m")
    four = must.versions["4"]
    assert (four.verdict, four.earlier, four.parent) == ("promote", (HELD[0],), "3")
    assert {v: s.verdict for v, s in must.versions.items()} == {
        "1": "blessed",
        "2": "promote",
        "3": "promote",
        "4": "promote",
    }


@pytest.mark.parametrize(
    "wrong",
    [
        said("decide", version="4", action="promoted", parent="3"),
        said("decide", action="promote", parent="3"),
        decide("2", "1", "hold"),  # a second decision that supersedes none
        decide("2", "1", "hold", supersedes=digest_bytes(b"another")),
        said("rollback", was="3"),
        said("erase", version="2"),
    ],
    ids=["action", "version", "twice", "supersedes another", "rollback", "erase"],
)
def test_a_statement_that_says_too_little_is_a_broken_ledger(wrong: Written) -> None:
    with pytest.raises(BrokenLedger, match="does not say what it must"):
        expected([BLESS, TWO, THREE, wrong], "m")


def test_an_erased_version_may_not_serve() -> None:
    must = expected([BLESS, TWO, THREE, said("erase", versions=["3"])], "m")
    assert not must.holds("3") and must.holds("2") and not must.holds("9")
    aliases = {"champion": "3", "previous": "2", "anchor": "1"}
    (found,) = alias_findings(must, aliases, lambda _: True)
    assert found.kind is Kind.ALIAS_MOVED and "weights were erased" in found.what
    assert "rollback" in found.do and "--repair" not in found.do


def test_an_erasure_that_was_begun_names_versions_of_every_line() -> None:
    named = [{"model": "m", "version": "3"}, {"model": "n", "version": "2"}]
    must = expected([BLESS, TWO, THREE, said("forget", model="", versions=named)], "m")
    assert [v for v, one in must.versions.items() if one.erasing] == ["3"]
    assert not any(one.erased for one in must.versions.values())


def test_after_an_erasure_previous_need_not_point_anywhere() -> None:
    must = expected([BLESS, TWO, THREE, said("erase", versions=["2"])], "m")
    for previous in ({}, {"previous": "1"}):
        found = {"champion": "3", "anchor": "1", **previous}
        assert not list(alias_findings(must, found, lambda _: True))
    wrong = {"champion": "3", "anchor": "1", "previous": "2"}
    (finding,) = alias_findings(must, wrong, lambda _: True)
    assert finding.kind is Kind.ALIAS_MOVED and "erased" in finding.what


@pytest.mark.parametrize(
    ("written", "aliases", "finished", "is_unfinished"),
    [
        ([BLESS], Aliases(None, None, None), False, True),
        ([BLESS], Aliases("1", None, None), False, True),
        ([BLESS], Aliases(None, None, "1"), False, False),
        ([BLESS, HELD], Aliases(None, None, None), False, False),
        ([BLESS, TWO, THREE], Aliases("2", "1", "1"), False, True),
        ([BLESS, TWO, THREE], Aliases("2", "2", "1"), False, True),
        # The update came to its end, so somebody moved it back.
        ([BLESS, TWO, THREE], Aliases("2", "1", "1"), True, False),
        ([BLESS, TWO, THREE], Aliases("1", "1", "1"), False, False),
        ([BLESS, TWO, THREE], Aliases("2", "1", None), False, False),
        ([BLESS, TWO, THREE, back("2", "3")], Aliases("3", "2", "1"), False, True),
        ([BLESS, TWO, THREE, back("2", "3")], Aliases("2", "2", "1"), False, True),
        ([BLESS, TWO, THREE, back("2", "3")], Aliases("3", "1", "1"), False, False),
    ],
)
def test_where_a_killed_process_leaves_the_aliases(
    written: list[Written], aliases: Aliases, finished: bool, is_unfinished: bool
) -> None:
    must: Expected = expected(written, "m")
    found = {name: at for name, at in vars(aliases).items() if at is not None}
    assert unfinished(must, found, lambda _: finished) is is_unfinished
    kinds = [finding.kind for finding in alias_findings(must, found, lambda _: finished)]
    assert kinds and (kinds == [Kind.UNFINISHED]) is is_unfinished
