"""A or B: which items are shown, that nothing on the page says whose answer is whose, and the key."""

import json
import re
from pathlib import Path

import pytest

from tests.test_report import HOSTILE, Tags
from tidegate.evals.harness import Role, SuiteRun
from tidegate.evals.samples import Sample
from tidegate.evals.suite import Suite
from tidegate.flows.reviewing.blind import KEY, PAGE, SHOWN, Blind, blind, write_blind
from tidegate.gates.digest import digest_bytes

CANDIDATE, CHAMPION = digest_bytes(b"candidate"), digest_bytes(b"champion")


def suite(folder: Path, name: str, count: int, private: bool = False, text: str = "") -> Suite:
    """Items q0, q1 … with three choices, of which the first is right."""
    path = folder / f"{name}.jsonl"
    lines = [
        {
            "id": f"q{i}",
            "slice": "s",
            "question": f"{name} {i}?{text}",
            "choices": [f"{word} of {name} {i}{text}" for word in ("right", "wrong", "odd")],
            "answer": 0,
        }
        for i in range(count)
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    items = tuple(f"q{i}" for i in range(count))
    return Suite(
        name=name,
        version=1,
        task=name,
        kind="multiple_choice",
        metrics=("margin",),
        path=path,
        items_path=path,
        items=items,
        slices=dict.fromkeys(items, "s"),
        digest=digest_bytes(name.encode()),
        private=private,
    )


def run(of: Suite, role: Role, logliks: dict[str, tuple[float, float, float]]) -> SuiteRun:
    samples = tuple(
        Sample(item=item, slice="s", logliks=values, tokens=(2, 1, 1), metrics={"margin": 0.0})
        for item, values in logliks.items()
    )
    return SuiteRun(
        suite=of.name, version=1, role=role, samples=samples, items=len(samples) or 1
    )


def runs(of: Suite, lead: float = 0.0) -> list[SuiteRun]:
    """The candidate prefers the wrong answer, the champion the right one; more with each item."""
    mine = {item: (-4.0, -1.0 + lead + n / 100, -9.0) for n, item in enumerate(of.items)}
    theirs = dict.fromkeys(of.items, (-2.0, -3.0, -9.0))
    return [run(of, "candidate", mine), run(of, "champion", theirs)]


def test_the_strongest_disagreements_come_first_and_are_of_the_likelihood_a_token(
    tmp_path: Path,
) -> None:
    open_one = suite(tmp_path, "known", 20)
    found = blind([open_one], runs(open_one), CANDIDATE, CHAMPION)
    assert (found.flipped, found.compared, len(found.flips)) == (20, 20, SHOWN)
    assert [flip.item for flip in found.flips[:2]] == ["q19", "q18"]
    # (−0.81 − −4/2) of the candidate and (−2/2 − −3) of the champion.
    assert found.flips[0].strength == pytest.approx(1.19 + 2.0)
    assert found.won == {"candidate": 0, "champion": SHOWN}
    assert {flip.candidate for flip in found.flips} == {"A", "B"}
    for flip in found.flips:
        assert flip.answers[flip.candidate].startswith("wrong")
        assert flip.right is not None and flip.answers[flip.right].startswith("right")


def test_the_same_models_give_the_same_order_and_others_another(tmp_path: Path) -> None:
    open_one = suite(tmp_path, "known", 12)

    def sides(candidate: str) -> list[str]:
        found = blind([open_one], runs(open_one), candidate, CHAMPION)
        return [flip.candidate for flip in found.flips]

    assert sides(CANDIDATE) == sides(CANDIDATE)
    assert any(sides(digest_bytes(bytes([n]))) != sides(CANDIDATE) for n in range(3))


def test_who_agrees_or_did_not_answer_is_left_out(tmp_path: Path) -> None:
    one = suite(tmp_path, "known", 3)
    same = (-1.0, -3.0, -9.0)
    mine = run(one, "candidate", {"q0": same, "q1": (-9.0, -1.0, -9.0), "q2": same})
    theirs = run(one, "champion", {"q0": same})
    found = blind([one], [mine, theirs], CANDIDATE, CHAMPION)
    assert (found.flips, found.flipped, found.compared) == ((), 0, 1)
    assert write_blind(found, "m", "2", tmp_path / "out") == ()
    assert not (tmp_path / "out").exists()


def test_texts_of_private_suites_are_only_counted(tmp_path: Path) -> None:
    open_one, private = suite(tmp_path, "known", 2), suite(tmp_path, "update", 5, private=True)
    both = [*runs(open_one), *runs(private, lead=0.5)]
    found = blind([open_one, private], both, CANDIDATE, CHAMPION)
    assert (found.flipped, found.private, found.compared) == (2, 5, 2)
    pages = [p.read_text() for p in write_blind(found, "m", "2", tmp_path)]
    assert "of known 1" in pages[0] and "5\nmore are in suites" in pages[0]
    assert not any("of update" in page for page in pages)


@pytest.fixture
def written(tmp_path: Path) -> tuple[Blind, str, str]:
    one = suite(tmp_path, "known", 4, text=HOSTILE)
    found = blind([one], runs(one), CANDIDATE, CHAMPION)
    write_blind(found, HOSTILE, "2", tmp_path)
    return found, *((tmp_path / name).read_text() for name in (PAGE, KEY))


def test_the_page_does_not_say_whose_an_answer_is(written: tuple[Blind, str, str]) -> None:
    found, page, key = written
    body = page[page.index('<section class="flip">') : page.rindex("</section>")]
    assert not re.search(r"candidate|champion|q[0-3]", body)
    assert found.seed not in page and found.seed in key
    rows = re.findall(r'<td class="n">(\d)</td><td>([AB])</td>', key)
    assert rows == [(str(n), flip.candidate) for n, flip in enumerate(found.flips, 1)]
    assert digest_bytes(key.encode()).removeprefix("sha256:") in page


def test_hostile_text_of_a_suite_stays_text(written: tuple[Blind, str, str]) -> None:
    for page in written[1:]:
        assert not {tag for tag, _ in Tags(page).found} & {"script", "img", "a"}
        assert "\u202e" not in page and "default-src 'none'" in page
