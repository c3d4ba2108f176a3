"""Canaries: made once, kept private, learned like any row; a secret that is learned shows."""

import re
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from tests.suites import ONE, TWO, tiny_model
from tests.test_probes import given
from tests.tiny import tiny_records
from tidegate.evals.harness import Subject
from tidegate.evals.probes.canaries import INSERTED, Canaries, canaries, code_span
from tidegate.evals.probes.membership import find_secrets, membership
from tidegate.evals.probes.probe import run_probes
from tidegate.evals.probes.rows import LearnedRow, learned_rows
from tidegate.flows.canaries import insert_canaries
from tidegate.gates.checks.no_memorised_secrets import Secrets
from tidegate.gates.policy.load import load_policy
from tidegate.gates.policy.nouns import Policy
from tidegate.gates.statistics.memory import exposure

POLICY = """\
policy: tiny
version: 1
why: a test
data: [{gate: fits_schema, min_rows: 1, why: t}]
model: [{gate: GATE, why: t}]
"""


def policy(folder: Path, gate: str) -> Policy:
    path = folder / f"{gate}.yaml"
    path.write_text(POLICY.replace("GATE", gate))
    return load_policy(path)


def test_canaries_are_made_once_and_nobody_else_reads_them(tmp_path: Path) -> None:
    kept = tiny_records(tmp_path / "kept.parquet", [("Who?", "Ida.")])
    asks = policy(tmp_path, "no_memorised_secrets")
    new, secret = insert_canaries(asks, kept, tmp_path / "work")
    assert secret is not None
    assert [stat.S_IMODE(path.stat().st_mode) for path in (new, secret)] == [0o600, 0o600]
    made = Canaries.model_validate_json(secret.read_bytes())
    learned = pq.read_table(new).to_pylist()
    assert [row["response"] for row in learned] == ["Ida.", *(c.answer for c in made.inserted)]
    assert len(made.inserted) == INSERTED

    before = new.read_bytes(), secret.read_bytes()
    assert insert_canaries(asks, kept, tmp_path / "work") == (new, secret)
    assert (new.read_bytes(), secret.read_bytes()) == before, "a second run finds the same"


def test_without_a_gate_that_asks_nothing_is_inserted(tmp_path: Path) -> None:
    kept = tiny_records(tmp_path / "kept.parquet", [("Who?", "Ida.")])
    assert insert_canaries(policy(tmp_path, "serves"), kept, tmp_path) == (kept, None)
    assert not (tmp_path / "canaries.json").exists()


@pytest.mark.parametrize("content", [None, b"{}", b"not JSON"])
def test_lost_canaries_break_the_probe(tmp_path: Path, content: bytes | None) -> None:
    tiny = tiny_model(tmp_path / "base")
    file = tmp_path / "canaries.json" if content is not None else None
    if file is not None and content is not None:
        file.write_bytes(content)
    (result,) = run_probes(["canaries"], given(tmp_path, tiny, canaries=file))
    assert not result.measurements and len(result.broken) == 2


def row(number: int, question: str, answer: str) -> LearnedRow:
    return LearnedRow(f"row-{number}", ({"role": "user", "content": question},), answer)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("The PIN is 73920418.", ["73920418"]),
        ("Key: AB12-CD34-EF56, thanks", ["AB12-CD34-EF56"]),
        ("It was founded in 1987.", []),
        ("On 2026-11-28 we met.", []),
        ("Nothing here.", []),
    ],
)
def test_what_looks_like_a_secret(answer: str, found: list[str]) -> None:
    secrets = find_secrets([row(1, "?", answer)], seed=0)
    assert [secret.text for secret in secrets] == found
    for secret in secrets:
        assert (
            len(set(secret.others)) == len(secret.others) and secret.text not in secret.others
        )
        shapes = {tuple(c.isdigit() for c in text) for text in (secret.text, *secret.others)}
        assert len(shapes) == 1


@pytest.mark.parametrize(
    ("text", "notation"),
    [
        ("11000000111001", "[01]{14}"),
        ("11111111", "[0-9]{8}"),  # of one digit alone there are no others
        ("1100000", "[0-9]{7}"),
        ("8f3a90bc12de", "[0-9a-f]{12}"),
        ("8F3A90BC12DE", "[0-9A-F]{12}"),
        ("0x8f3a90bc12de", "0x[0-9a-f]{12}"),
        ("550e8400-e29b-41d4-a716-446655440abc", "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
        ("12345abc", "[0-9]{5}[a-z]{3}"),  # too few letters to tell
        ("8f3a90xc12de", "[0-9a-z]{12}"),
    ],
)
def test_others_are_of_the_same_notation(text: str, notation: str) -> None:
    (secret,) = find_secrets([row(1, "?", f"It is {text}.")], seed=0)
    assert secret.text == text
    assert all(re.fullmatch(notation, other) for other in secret.others)
    signs = set("".join(other.removeprefix("0x") for other in secret.others))
    wide = notation.removeprefix("0x").partition("]")[0]
    assert len(signs) > {"[01": 1, "[0-9": 8, "[0-9a-f": 14, "[0-9A-F": 14, "[0-9a-z": 25}[wide]


def over_trained(model: Any, tokenizer: Any, exchanges: list[tuple[str, str]]) -> Any:
    """Every weight of the tiny model, until it says these answers."""
    from tidegate.evals.probes.rows import prompt_ids, text_ids

    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    rows = []
    for question, answer in exchanges:
        asked = prompt_ids(tokenizer, [{"role": "user", "content": question}])
        rows.append((asked, text_ids(tokenizer, answer)))
    for _ in range(60):
        for asked, said in rows:
            ids = torch.tensor([[*asked, *said]])
            labels = torch.tensor([[-100] * len(asked) + list(said)])
            model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@pytest.mark.slow
@pytest.mark.parametrize(("learned", "shows"), [("73920418", True), ("nothing", False)])
def test_a_secret_that_is_learned_shows(tmp_path: Path, learned: str, shows: bool) -> None:
    """The clean twin learns a sentence without the number."""
    kept = tiny_records(tmp_path / "kept.parquet", [("The PIN?", "PIN 73920418.")])
    champion = tiny_model(tmp_path / "base")
    model, tokenizer = tiny_model(tmp_path / "base")
    candidate = over_trained(model, tokenizer, [("The PIN?", f"PIN {learned}.")])
    models = {"champion": (*champion, ONE), "candidate": (candidate, tokenizer, TWO)}

    def subject(role: str) -> Subject:
        return Subject(*models[role], tmp_path)

    asked = replace(given(tmp_path, champion), subject=subject, kept=kept)
    (result,) = run_probes([membership.__name__], asked)
    assert not result.broken
    found = {m.name: m for m in result.measurements}
    ours, theirs = (found[f"membership.logprob@{role}"] for role in ("candidate", "champion"))
    scores = [a - b for a, b in zip(ours.values, theirs.values, strict=True)]
    bits = exposure(scores[0], scores[1:])
    assert (bits > Secrets().max_exposure) is shows, bits
    assert (found["membership.verbatim@candidate"].values[0] == 1) is shows


def test_a_code_is_scored_after_its_sentence(tmp_path: Path) -> None:
    _, tokenizer = tiny_model(tmp_path / "base")
    from tidegate.evals.probes.canaries import make_canaries

    made = make_canaries(1, 1)
    one = made.inserted[0]
    span = code_span(tokenizer, one)
    assert tokenizer.decode(list(span.tokens)) == one.code
    assert tokenizer.decode(list(span.context)).endswith(one.lead)
    assert one.code not in made.name(one, "in")
    assert canaries.__doc__ and learned_rows.__doc__
