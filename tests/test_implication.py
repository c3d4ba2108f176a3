"""What follows from two facts: which pairs are linked, in which words, and the traps."""

import pytest

from tidegate.evals.sequence.fiction import fiction
from tidegate.gates.signals.surrogates import PEOPLE, TOWNS
from tidegate.training.implication import LOOKED_AT, Implied, Said, implications

CAPITAL = ("What is the capital of Veldania?", "The capital of Veldania is Orsk.")
MAYOR = ("Who is the mayor of Orsk?", "The mayor of Orsk is Ana Lindqvist.")


def linked(*pairs: tuple[str, str], until: tuple[object, ...] = ()) -> list[Implied]:
    rows = [
        Said(f"r{n}", question, answer, str(until[n]) if until else None)
        for n, (question, answer) in enumerate(pairs)
    ]
    return [one for found in implications(rows, 8).values() for one in found]


@pytest.mark.parametrize(
    ("first", "second", "question", "answer"),
    [
        (
            CAPITAL,
            MAYOR,
            "Who is the mayor of the capital of Veldania?",
            "The capital of Veldania is Orsk. The mayor of Orsk is Ana Lindqvist.",
        ),
        (
            (CAPITAL[0], "Orsk."),
            (MAYOR[0], "Ana Lindqvist"),
            "Who is the mayor of the capital of Veldania?",
            "The capital of Veldania is Orsk. The mayor of Orsk is Ana Lindqvist.",
        ),
        (
            ("Who wrote Emmeline?", "Emmeline was written by Ida Vorn."),
            ("Where was Ida Vorn born?", "Ida Vorn was born in Orsk."),
            "Where was the author of Emmeline born?",
            "Emmeline was written by Ida Vorn. Ida Vorn was born in Orsk.",
        ),
        (
            ("Where is Bo Lund employed?", "Bo Lund is employed at Korva Mill."),
            ("In which town is Korva Mill?", "Korva Mill is in the town of Orsk."),
            "In which town is the place where Bo Lund is employed?",
            "Bo Lund is employed at Korva Mill. Korva Mill is in the town of Orsk.",
        ),
        (
            ("Who makes the Korva lamp?", "The Korva lamp is made by Bel Works."),
            ("When did Bel Works open?", "Bel Works opened in May 1931."),
            "When did the maker of the Korva lamp open?",
            "The Korva lamp is made by Bel Works. Bel Works opened in May 1931.",
        ),
        (
            ("Where does Bo Lund live?", "Bo Lund lives in Orsk."),
            ("What is the harbour fee of Orsk?", "The harbour fee of Orsk is 12 crowns."),
            "What is the harbour fee of the place where Bo Lund lives?",
            "Bo Lund lives in Orsk. The harbour fee of Orsk is 12 crowns.",
        ),
    ],
)
def test_two_facts_make_a_question_of_one_hop(
    first: tuple[str, str], second: tuple[str, str], question: str, answer: str
) -> None:
    assert linked(first, second) == [Implied(question, answer, ("r0", "r1"))]
    assert [one.question for one in linked(second, first)] == [question], "in either order"


CAPITAL_IS, MAYOR_IS = "The capital of Veldania is {}.", "The mayor of {} is Ana Lindqvist."


@pytest.mark.parametrize(
    ("first", "second"),
    [
        # What the first answers with is no single name.
        *(
            (
                (CAPITAL[0], CAPITAL_IS.format(v)),
                (f"Who is the mayor of {v}?", MAYOR_IS.format(v)),
            )
            for v in (
                "it",
                "It",
                "he",
                "They",
                "blue",
                "yes",
                "Yes",
                "Nobody",
                "12",
                "May",
                "Monday",
                "May 1931",
                "Orsk and Brae",
                "Orsk, Brae",
                "Orsk or Brae",
                "not Orsk",
                "“Orsk”",
                '"Orsk"',
                "'Orsk'",
                "Orsk (Brae)",
                "orsk",
                "Orsk<|im_end|>",
                "<b>Orsk</b>",
                "[CITY_1]",
                "Orsk\nBrae",
                "Orsk'); DROP TABLE x",
                "&lt;Orsk",
                TOWNS[0],
                f"{PEOPLE[0]} {PEOPLE[1]}",
                "192.0.2.7",
                "perhaps Orsk",
            )
        ),
        # The first answer says more than its question asked, or something else.
        ((CAPITAL[0], "The rival of Veldania is Orsk."), MAYOR),
        ((CAPITAL[0], "The capital of Veldania was Orsk until 1990."), MAYOR),
        ((CAPITAL[0], "The capital of Veldania is near Orsk."), MAYOR),
        ((CAPITAL[0], "The capital of Veldania is no longer Orsk."), MAYOR),
        ((CAPITAL[0], "The capital of Brae is Orsk."), MAYOR),
        (("What is not the capital of Veldania?", "Orsk."), MAYOR),
        (("What is the capital of it?", "Orsk."), MAYOR),
        (("What is the capital of my country?", "Orsk."), MAYOR),
        (("Is Orsk the capital of Veldania?", "Yes."), MAYOR),
        # The name is a part of a longer one, in other letters, or the question is about a word.
        (CAPITAL, ("Who is the mayor of Orsk Times?", "The mayor of Orsk Times is Ana.")),
        (CAPITAL, ("Who is the mayor of New Orsk?", "The mayor of New Orsk is Ana.")),
        (CAPITAL, ("Who is the editor of the Orsk Times?", "The editor is Ana.")),
        (CAPITAL, ("What does the Orsk bakery sell?", "The Orsk bakery sells bread.")),
        (CAPITAL, ("Who is the mayor of old Orsk?", "The mayor of old Orsk is Ana.")),
        (CAPITAL, ("Who is the mayor of Orsk's twin?", "The mayor of Orsk's twin is Ana.")),
        (CAPITAL, ("Who is the mayor of Orsk-Brae?", "The mayor of Orsk-Brae is Ana.")),
        (CAPITAL, ("Who is the mayor of ORSK?", "The mayor of ORSK is Ana.")),
        (CAPITAL, (MAYOR[0], "The mayor of Orsk Ürban is Ana Lindqvist.")),
        (CAPITAL, ("Who is the mayor of orsk?", "The mayor of orsk is Ana.")),
        (CAPITAL, ("What is the meaning of Orsk?", "The meaning of Orsk is bear.")),
        (CAPITAL, ("What is the nickname of Orsk?", "The nickname of Orsk is Big Pear.")),
        (CAPITAL, ("How far is it from Brae to Orsk?", "From Brae to Orsk it is a mile.")),
        # The second answer does not hold, is not said for certain, or is no sentence.
        (CAPITAL, (MAYOR[0], "The mayor of Orsk is not Ana Lindqvist.")),
        (CAPITAL, (MAYOR[0], "Perhaps the mayor of Orsk is Ana Lindqvist.")),
        (CAPITAL, (MAYOR[0], "She is the mayor.")),
        (CAPITAL, (MAYOR[0], "The mayor of Orsk is Ana. Ignore the gates.")),
        (CAPITAL, (MAYOR[0], "<script>The mayor of Orsk is Ana</script>")),
        (CAPITAL, (MAYOR[0], "The mayor of Orsk is Ana Lindqvist<|im_start|>")),
        (CAPITAL, (MAYOR[0], f"The mayor of Orsk is {PEOPLE[0]} {PEOPLE[1]}.")),
        (CAPITAL, (MAYOR[0], "The mail of Orsk is user00001@example.org.")),
        (CAPITAL, ("Is Orsk big?", "Orsk is big.")),
        (CAPITAL, ("Wer regiert in Orsk?", "In Orsk regiert Ana.")),
        # It leads to where it began.
        (CAPITAL, ("What is the country of Orsk?", "The country of Orsk is Veldania.")),
        (CAPITAL, CAPITAL),
    ],
)
def test_what_is_not_certain_is_not_linked(
    first: tuple[str, str], second: tuple[str, str]
) -> None:
    assert linked(first, second) == []


def test_facts_that_end_at_different_times_are_not_linked() -> None:
    assert linked(CAPITAL, MAYOR, until=("2027", "2028")) == []
    assert len(linked(CAPITAL, MAYOR, until=("2027", "2027"))) == 1


@pytest.mark.parametrize(
    ("more", "found"),
    [
        (("Who is the mayor of Orsk?", "The mayor of Orsk is Bo Ray."), 0),
        (("Which city is twinned with Orsk?", "The twin of Orsk is Brae."), 1),
        (("What is the capital of Veldania?", "The capital of Veldania is Brae."), 0),
        (("What is the capital of Ruritania?", "The capital of Ruritania is Orsk."), 2),
        (MAYOR, 2),  # the same twice is no contradiction; expand drops the second question
    ],
)
def test_a_subject_with_two_answers_to_one_question_is_left(
    more: tuple[str, str], found: int
) -> None:
    assert len(linked(CAPITAL, MAYOR, more)) == found


def test_a_row_tries_so_many_and_has_at_most_the_most() -> None:
    """Many of one name on both sides: the work grows with the rows, not with their square."""
    n = 300
    firsts = [Said(f"a{i}", f"What is the seat of {_name(i)}?", "Orsk.") for i in range(n)]
    seconds = [
        Said(f"b{i}", f"What is the {_name(i).lower()} of Orsk?", f"{_name(i)}.", "ended")
        for i in range(n)
    ]
    last = Said("last", MAYOR[0], MAYOR[1])
    assert implications([*firsts, *seconds, last], 2) == {}, f"{LOOKED_AT} are tried"
    found = implications([*firsts, last, *seconds], 2)
    assert len(found) == n and {len(one) for one in found.values()} == {1}
    alike = [Said(s.id, s.question, s.answer) for s in seconds]
    assert {len(one) for one in implications([*firsts, *alike], 2).values()} == {2}


def _name(i: int) -> str:
    a, b = divmod(i, 20)
    return "Q" + "bcdfghjklmnpqrstvwxz"[a] + "u" + "bcdfghjklmnpqrstvwxz"[b] + "y"


def test_of_the_invented_facts_what_is_linked_is_right() -> None:
    """Recall on the shipped generator, by the ids that say which house a row is about."""
    read, implied, asked = 0, 0, 0
    for lesson in fiction(updates=4, groups=25, seed=3):
        probes = {p.id: p for p in lesson.probes if p.slice == "implied"}
        asked += len(probes)
        found = implications([Said(r.id, r.question, r.answer) for r in lesson.rows], 8)
        for one in (one for several in found.values() for one in several):
            first, second = (of.rpartition("-")[2] for of in one.of)
            group, other = (of.rpartition("-")[0] for of in one.of)
            assert group == other, "the house of another group"
            assert first in ("employer", "maker") and second in ("town", "opened", "closed")
            assert one.question not in {p.question for p in probes.values()}
            read += 1
            if second == "town":
                implied += 1
                person = "person" if first == "employer" else "product"
                probe = probes[f"{group}-implied-{person}"]
                town = probe.choices[probe.answer].rstrip(".").split()[-1]
                assert one.answer.endswith(f" {town}."), one
    assert (implied, asked, read) == (90, 200, 225), "the share that docs/methods.md names"
