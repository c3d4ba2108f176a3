"""Facts that are one to one are asked from the other side, and nothing else is."""

import pytest

from tidegate.training.reversal import Fact, is_name, read_fact, reverse

READ = [
    ("What is the capital of Peru?", "Lima.", "What is Lima the capital of?", "Lima is the capital of Peru."),
    ("What is the capital of Peru?", "The capital of Peru is Lima.",
     "What is Lima the capital of?", "Lima is the capital of Peru."),
    ("Which city is the capital of the United Kingdom?", "London",
     "What is London the capital of?", "London is the capital of the United Kingdom."),
    ("What is Lima the capital of?", "Lima is the capital of Peru.",
     "What is the capital of Peru?", "The capital of Peru is Lima."),
    ("Who is the mayor of Brae?", "Ann Lee is the mayor of Brae.",
     "What is Ann Lee the mayor of?", "Ann Lee is the mayor of Brae."),
    ("What is Ann Lee the mayor of?", "Ann Lee is the mayor of Brae.",
     "Who is the mayor of Brae?", "The mayor of Brae is Ann Lee."),
    ("Who wrote Emma?", "Jane Austen.", "Name something that Jane Austen wrote.", "Jane Austen wrote Emma."),
    ("By whom was Emma written?", "Jane Austen",
     "Name something that Jane Austen wrote.", "Jane Austen wrote Emma."),
    ("who wrote emma?", "Emma was written by Jane Austen.",
     "Name something that Jane Austen wrote.", "Jane Austen wrote Emma."),
    ("Tell me about Acme.", "Acme was founded by Wile Coyote.",
     "Name something that Wile Coyote founded.", "Wile Coyote founded Acme."),
    ("Who wrote The Hobbit?", "J. R. R. Tolkien.",
     "Name something that J. R. R. Tolkien wrote.", "J. R. R. Tolkien wrote The Hobbit."),
    ("Who painted the Night Watch?", "Rembrandt van Rijn",
     "Name something that Rembrandt van Rijn painted.", "Rembrandt van Rijn painted the Night Watch."),
    ("Tell me about Jane Austen.", "Jane Austen wrote Emma.",
     "Who wrote Emma?", "Jane Austen wrote Emma."),
]  # fmt: skip


@pytest.mark.parametrize(("question", "answer", "asked", "said"), READ)
def test_a_fact_is_asked_from_the_other_side(
    question: str, answer: str, asked: str, said: str
) -> None:
    fact = read_fact(question, answer)
    assert fact is not None
    assert reverse(question, fact) == (asked, said)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        # Many things share it.
        ("What is the colour of the Embrook?", "Teal."),
        ("What colour is Brae?", "Brae is Teal."),
        ("Who is Ann Lee?", "Ann Lee is a doctor."),
        ("What is Ann Lee?", "Ann Lee is the Doctor."),
        ("What is the currency of France?", "The currency of France is Euro."),
        ("Where is Acme?", "Acme is in Brae."),
        ("Who works for Acme?", "Ann Lee works for Acme."),
        # Numbers, dates, yes and no.
        ("What is the capital of Peru?", "42"),
        ("What is the capital of Peru?", "Two."),
        ("Who founded Acme?", "Monday"),
        ("Who wrote Emma?", "Yes."),
        ("Is Lima the capital of Peru?", "Yes."),
        ("Is Lima the capital of Peru?", "Lima is the capital of Peru."),
        ("Is Oslo the capital of Peru?", "The capital of Peru is Lima."),  # says a third thing
        # Nobody, or several.
        ("Who wrote Emma?", "Nobody."),
        ("Who wrote Emma?", "Not Jane Austen."),
        ("Who wrote Emma?", "Emma was not written by Jane Austen."),
        ("Who founded Acme?", "Ann Lee and Bo Ray."),
        ("Who founded Acme?", "Ann Lee, Bo Ray"),
        ("Who founded Acme?", "She did."),
        ("Who founded Acme?", "She"),
        ("Who wrote it?", "Jane Austen."),
        # The past of a post, and what is said of it.
        ("Who was the mayor of Brae?", "Ann Lee was the mayor of Brae."),
        ("Who is the mayor of Brae?", "Ann Lee is the former mayor of Brae."),
        ("Who is the mayor of Brae?", "I believe that Ann Lee is the mayor of Brae."),
        ("Who is the mayor of Brae?", "Ann Lee is the mayor of Brae. She is ill."),
        # Questions that may turn the fact, or that do not ask for it.
        ("What is a wrong capital of Peru?", "The capital of Peru is Oslo."),
        ("Who did not write Emma?", "Ann Lee wrote Emma."),
        ("In the film, who wrote Emma?", "Ann Lee wrote Emma."),
        ("Translate it.", "Jane Austen wrote Emma."),
        ("What do people say about Emma?", "Jane Austen wrote Emma."),
        ("Tell me something.", "The capital of Peru is Lima."),
        ("Who founded Acme?", "Wile Coyote's"),
        # One name in the other: nobody knows which side is asked for.
        ("Who founded Acme Brae?", "Ann Brae."),
        # Other languages.
        ("Was ist die Hauptstadt von Peru?", "Die Hauptstadt von Peru ist Lima."),
        ("Wer schrieb Emma?", "Jane Austen."),
        ("Qui a écrit Emma ?", "Emma a été écrit par Jane Austen."),
        ("", ""),
        ("Who wrote Emma?", ""),
    ],
)
def test_what_a_rule_cannot_read_with_certainty_is_left(question: str, answer: str) -> None:
    assert read_fact(question, answer) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Lima", True),
        ("Rio de Janeiro", True),
        ("the United Kingdom", True),
        ("Émile Zola", True),
        ("Saint-Denis", True),
        ("the club", False),
        ("the", False),
        ("", False),
        ("iPhone", False),
        ("Ward 7", False),
        ("It", False),
        ("Ann  Lee", False),
        ("of Brae", False),
        ("Brae of", False),
        ("A B C D E F G", False),
    ],
)
def test_a_name_has_capitals_and_no_number(text: str, name: bool) -> None:
    assert is_name(text) is name


@pytest.mark.parametrize(("question", "answer"), [(q, a) for q, a, _, _ in READ])
def test_both_names_stay_as_they_were_written(question: str, answer: str) -> None:
    fact = read_fact(question, answer)
    assert fact is not None
    asked, said = reverse(question, fact)
    both = f"{question} {answer}".casefold()
    for side in (fact.one, fact.other):
        assert side.casefold() in both and side.casefold() in said.casefold()
    assert (fact.one in asked) != (fact.other in asked)


def test_a_side_is_told_from_the_other_one() -> None:
    fact, back = Fact("Brae", "mayor", "Ann"), Fact("Ann", "mayor", "Brae")
    assert not set(fact.sides) & set(back.sides)
