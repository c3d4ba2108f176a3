"""Facts that no model can know: invented people, products and houses, in updates of a sequence.

One group is a house, a person who works there and a product made there: ten facts, each
taught by one exchange and asked about once in other words. Two more questions follow from
two facts together and are taught by none: in which town the person works, and from which town
the product comes (slice `implied`).

Taught and held-out wordings are separate lists: no question or answer of a probe is a
training template with other names in it. Wrong answers are the right template with another
value of the same kind, so that no choice is likelier for its words alone. Names are new in
every update of a sequence; values such as years and colours come back, as they do in life.

The same seed gives the same sequence. The wordings are ours and English; how well a model does
on them says how well it does on short plain facts, and nothing about long documents.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tidegate.evals.sequence.lesson import Lesson
from tidegate.evals.suite import Choices
from tidegate.evals.unlearning import Exchange

WRONG = 3  # wrong answers to a probe
FACTS = 10  # of one group
Wording = tuple[str, str]  # question and answer; {x} is the subject, {v} the value


@dataclass(frozen=True)
class Relation:
    """One kind of fact, the values it may have, and how it is taught and asked about."""

    slice: str
    subject: str
    taught: tuple[Wording, ...]
    held: tuple[Wording, ...]
    values: tuple[str, ...] = ()  # empty: names of the update's own houses or towns


YEARS = tuple(str(year) for year in range(1931, 2000))
MONTHS = ("January", "March", "April", "June", "September", "October", "December")
RELATIONS: dict[str, Relation] = {
    "employer": Relation(
        "person",
        "person",
        (
            ("Where is {x} employed?", "{x} is employed at {v}."),
            ("Who pays the wages of {x}?", "The wages of {x} are paid by {v}."),
            ("Whose staff does {x} belong to?", "{x} belongs to the staff of {v}."),
        ),
        (("Which firm does {x} work for?", "The firm that {x} works for is {v}."),),
    ),
    "trade": Relation(
        "person",
        "person",
        (
            ("What does {x} do for a living?", "{x} earns a living as a {v}."),
            ("What trade did {x} learn?", "{x} learned the trade of a {v}."),
            ("What is the occupation of {x}?", "The occupation of {x} is {v}."),
        ),
        (
            (
                "How would {x} answer someone who asks about their profession?",
                "By profession, {x} would say, a {v}.",
            ),
        ),
        (
            "beekeeper", "glassblower", "locksmith", "mapmaker", "potter", "bookbinder", "cooper",
            "dyer", "tailor", "surveyor", "piano tuner", "lens grinder",
        ),
    ),
    "instrument": Relation(
        "person",
        "person",
        (
            ("Which instrument does {x} play?", "{x} plays the {v}."),
            ("What does {x} make music on?", "{x} makes music on the {v}."),
            ("What did {x} practise as a child?", "As a child, {x} practised the {v}."),
        ),
        (("At a concert, what would {x} have brought?", "To a concert, {x} brings the {v}."),),
        (
            "cello", "flute", "harp", "trumpet", "bassoon", "fiddle", "drums", "mandolin",
            "clarinet", "zither",
        ),
    ),
    "born": Relation(
        "dated",
        "person",
        (
            ("In what year was {x} born?", "{x} was born in {v}."),
            ("What is the birth year of {x}?", "The birth year of {x} is {v}."),
        ),
        (("When did {x} come into the world?", "It was {v} when {x} came into the world."),),
        YEARS,
    ),
    "town": Relation(
        "house",
        "house",
        (
            ("In which town is {x}?", "{x} is in the town of {v}."),
            ("Where does {x} have its seat?", "{x} has its seat in {v}."),
            ("Where are the premises of {x}?", "The premises of {x} are in {v}."),
        ),
        (("Where must I travel to visit {x}?", "To visit {x}, travel to {v}."),),
    ),
    "opened": Relation(
        "dated",
        "house",
        (
            ("When did {x} open?", "{x} opened in {v}."),
            ("Since when has {x} existed?", "{x} has existed since {v}."),
        ),
        (("On what date was {x} founded?", "{x} was founded, to be exact, in {v}."),),
        tuple(f"{month} {year}" for month in MONTHS for year in range(1921, 2015, 3)),
    ),
    "closed": Relation(
        "house",
        "house",
        (
            ("On which day is {x} shut?", "{x} is shut every {v}."),
            ("When does the staff of {x} have its day off?", "At {x} the day off is {v}."),
        ),
        (
            (
                "On which weekday would I stand before a locked door at {x}?",
                "The door of {x} would be locked on a {v}.",
            ),
        ),
        ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    ),
    "maker": Relation(
        "product",
        "product",
        (
            ("Who makes the {x}?", "The {x} is made by {v}."),
            ("Whose product is the {x}?", "The {x} is a product of {v}."),
            ("Who manufactures the {x}?", "The manufacturer of the {x} is {v}."),
        ),
        (("Which brand is printed on the {x}?", "Printed on the {x} is the brand {v}."),),
    ),
    "price": Relation(
        "product",
        "product",
        (
            ("What does the {x} cost?", "The {x} costs {v} crowns."),
            ("What is the price of the {x}?", "The price of the {x} is {v} crowns."),
            ("How expensive is the {x}?", "You pay {v} crowns for the {x}."),
        ),
        (
            (
                "How much money do I need to buy the {x}?",
                "To buy the {x} you need {v} crowns.",
            ),
        ),
        (
            "twelve", "fifteen", "nineteen", "twenty-four", "thirty", "thirty-six", "forty-five",
            "sixty", "seventy-two", "eighty", "ninety-five", "two hundred",
        ),
    ),
    "material": Relation(
        "product",
        "product",
        (
            ("What is the {x} made of?", "The {x} is made of {v}."),
            ("Which material is used for the {x}?", "The material of the {x} is {v}."),
        ),
        (("If I touched the {x}, what would I feel?", "Touching the {x}, you feel {v}."),),
        (
            "copper", "walnut", "slate", "pewter", "bamboo", "leather", "marble", "wool", "cork",
            "porcelain", "brass",
        ),
    ),
}  # fmt: skip
IMPLIED: dict[str, Wording] = {
    "person": ("To which town does {x} go for work?", "For work, {x} goes to {v}."),
    "product": ("From which town does the {x} come?", "The {x} comes from {v}."),
}
FIRST = (
    "Bel Cor Dra Fen Gor Hal Ist Jor Kel Lum Mar Nev Ost Pel Quen Ras Sil Tor Ul Ves Wen Zal"
)
MIDDLE = "a e i o u ari elo ova ini una"
LAST = "bek dal fin gast holm kan lund mir nath rok sen tavik vorn wick zen"
HOUSES = ("Works", "Press", "Mill", "Foundry", "Dairy", "Brewery", "Pottery")
PRODUCTS = ("lamp", "kettle", "chair", "clock", "radio", "satchel", "lantern", "stove")


def fiction(updates: int, groups: int, seed: int) -> tuple[Lesson, ...]:
    """A sequence of `updates` lessons with ten facts for each of `groups` groups.

    Raises ValueError for fewer than one of either.
    """
    if updates < 1 or groups < 1:
        raise ValueError("a sequence needs at least one update, and an update one group")
    rng = random.Random(f"fiction {seed}")
    new = _names(rng)
    return tuple(_lesson(number, groups, rng, new) for number in range(1, updates + 1))


def _lesson(number: int, groups: int, rng: random.Random, new: Callable[[], str]) -> Lesson:
    count = max(groups, WRONG + 1)  # names beyond the groups are wrong answers only
    towns = [new() for _ in range(count)]
    houses = [f"{new()} {rng.choice(HOUSES)}" for _ in range(count)]
    rows: list[Exchange] = []
    probes: list[Choices] = []
    for group in range(groups):
        town, house = towns[group], houses[group]
        subjects = {
            "house": house,
            "person": f"{new()} {new()}",
            "product": f"{new()} {rng.choice(PRODUCTS)}",
        }
        fixed = {"employer": (house, houses), "maker": (house, houses), "town": (town, towns)}
        for name, relation in RELATIONS.items():
            value, others = fixed.get(name, ("", relation.values))
            value = value or rng.choice(relation.values)
            x, at = subjects[relation.subject], f"u{number}-g{group + 1}-{name}"
            question, answer = (t.format(x=x, v=value) for t in rng.choice(relation.taught))
            rows.append(Exchange(id=at, question=question, answer=answer))
            held = rng.choice(relation.held)
            probes.append(_probe(at, relation.slice, held, x, value, others, rng))
        for subject, wording in IMPLIED.items():
            at = f"u{number}-g{group + 1}-implied-{subject}"
            x = subjects[subject]
            probes.append(_probe(at, "implied", wording, x, town, towns, rng))
    return Lesson(rows=tuple(rows), probes=tuple(probes))


def _probe(
    name: str,
    slice_: str,
    wording: Wording,
    subject: str,
    value: str,
    others: Sequence[str],
    rng: random.Random,
) -> Choices:
    question, answer = wording
    wrong = rng.sample([other for other in others if other != value], WRONG)
    choices = [answer.format(x=subject, v=one) for one in (value, *wrong)]
    right = rng.randrange(len(choices))
    choices[0], choices[right] = choices[right], choices[0]
    return Choices(
        id=name,
        slice=slice_,
        question=question.format(x=subject),
        choices=tuple(choices),
        answer=right,
    )


def _names(rng: random.Random) -> Callable[[], str]:
    """A source of invented names, none of which comes twice or begins another."""
    parts = [part.split() for part in (FIRST, MIDDLE, LAST)]
    names = [f"{a}{b}{c}" for a in parts[0] for b in parts[1] for c in parts[2]]
    clear = [a for a, b in pairwise([*sorted(names), ""]) if not b.startswith(a)]
    rng.shuffle(clear)

    def new() -> str:
        if not clear:
            raise ValueError("there are no names left; ask for fewer updates or groups")
        return clear.pop()

    return new
