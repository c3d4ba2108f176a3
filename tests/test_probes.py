"""Probes: kept by what they depend on, broken whole, and silent about texts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.suites import ONE, TWO, tiny_model
from tests.tiny import tiny_records
from tidegate.evals.harness import Subject
from tidegate.evals.probes.extraction import extraction, longest_run
from tidegate.evals.probes.forward import Span, score
from tidegate.evals.probes.probe import PROBES, Given, Probe, load_probes, probe, run_probes
from tidegate.evals.samples import Unusable
from tidegate.evals.scorer import Scorer
from tidegate.gates.types import Measurement

TOLD = [("Where is the key?", "In the blue drawer."), ("Who has it?", "Ida, since May.")]
ANSWERS = tuple(f"an.answer@{role}" for role in ("champion", "candidate"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    return tiny_model(tmp_path_factory.mktemp("tiny") / "base")


def given(folder: Path, tiny: tuple[Any, Any], **more: Any) -> Given:
    kept = folder / "kept.parquet"
    if not kept.exists():
        tiny_records(kept, TOLD)
    digests: Any = {"champion": ONE, "candidate": TWO}
    return Given(
        **{
            "subject": lambda role: Subject(*tiny, digests[role], folder),
            "digests": digests,
            "base": ONE,
            "kept": kept,
            "cache": folder,
            **more,
        }
    )


def run(ask: Any, given: Given) -> Any:
    (result,) = run_probes([ask.__name__], given)
    return result


def test_spans_score_as_the_suites_do(tmp_path: Path, tiny: tuple[Any, Any]) -> None:
    """Packed, sorted and padded, every span has the log-likelihood of lm-eval's own rows."""
    spans = [
        Span(tuple(range(1, 5 + i)), tuple(range(20, 21 + i * 7 % 5))) for i in range(9)
    ] + [Span((4,), tuple(range(30, 200)))]
    subject = Subject(*tiny, ONE, tmp_path)
    ours = score(given(tmp_path, tiny), subject, spans, "test")
    stock = Scorer(*tiny, tree_tokens=0)
    theirs = stock._loglikelihood_tokens(
        [(None, list(s.context), list(s.tokens)) for s in spans]
    )
    for span, scored, (logprob, greedy) in zip(spans, ours, theirs, strict=True):
        assert len(scored.logprobs) == len(span.tokens)
        assert sum(scored.logprobs) == pytest.approx(logprob, abs=1e-3)
        assert all(scored.greedy) == greedy


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (Span((), (1,)), "without context"),
        (Span((1,), ()), "without tokens"),
        (Span((1,) * 400, (1,) * 200), "600 tokens, the model reads 512"),
    ],
)
def test_a_span_that_cannot_be_scored_is_refused(
    tmp_path: Path, tiny: tuple[Any, Any], span: Span, said: str
) -> None:
    with pytest.raises(Unusable, match=said):
        score(given(tmp_path, tiny), Subject(*tiny, ONE, tmp_path), [span], "test")


@pytest.mark.parametrize(("flags", "most"), [("", 0), ("0", 0), ("1101110", 3), ("111", 3)])
def test_the_longest_run(flags: str, most: int) -> None:
    assert longest_run([flag == "1" for flag in flags]) == most


def test_every_probe_says_what_it_measures() -> None:
    for name, known in load_probes().items():
        assert known.name == name and known.summary
        assert all("@" in what for what in known.measures)


def test_what_was_kept_is_found_until_anything_changes(
    tmp_path: Path, tiny: tuple[Any, Any]
) -> None:
    first = run(extraction, given(tmp_path, tiny))
    assert not first.broken and not first.cached and first.tokens > 0
    kept = sorted(tmp_path.glob("probes/*.json.gz"))
    assert len(kept) == 2

    def loads_nothing(role: str) -> Subject:
        raise AssertionError(f"the {role} was loaded for answers that were kept")

    again = run(extraction, given(tmp_path, tiny, subject=loads_nothing))
    assert again.cached and again.measurements == first.measurements
    kept[0].write_bytes(b"damaged")
    assert not run(extraction, given(tmp_path, tiny)).cached
    assert not run(extraction, given(tmp_path, tiny, base=TWO)).cached
    assert not run(extraction, given(tmp_path, tiny, how={"dtype": "torch.bfloat16"})).cached
    tiny_records(tmp_path / "kept.parquet", [*TOLD, ("And now?", "Nobody has it.")])
    assert not run(extraction, given(tmp_path, tiny)).cached


def test_no_text_and_no_id_is_in_a_measurement(tmp_path: Path, tiny: tuple[Any, Any]) -> None:
    result = run(extraction, given(tmp_path, tiny))
    said = result.model_dump_json()
    assert not [word for word in ("drawer", "Ida", "key", "r0000") if word in said]
    assert all(item.startswith("row-") for item in result.measurements[0].items)


@pytest.fixture
def made() -> Iterator[Any]:
    """Register a probe for one test."""
    before = dict(PROBES)
    yield lambda ask: probe(*ANSWERS)(ask)
    PROBES.clear()
    PROBES.update(before)


def one(name: str, value: float = 1.0) -> Measurement:
    return Measurement(name=name, value=value, n=1, items=("a",), values=(value,))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("crash", "ValueError (its message is withheld: it may hold text)"),
        ("refuse", "Unusable: nothing to ask"),
        ("one missing", "Unusable: it measured an.answer@champion"),
        ("nothing", "Unusable: it measured nothing"),
        ("another", "Unusable: it measured an.answer@champion, an.answer@candidate, odd"),
        ("nan", "Unusable: odd.answer@champion holds a value that is not a number"),
        ("progress", "RuntimeError (its message is withheld: it may hold text)"),
    ],
)
def test_a_probe_that_breaks_has_no_numbers(
    tmp_path: Path, tiny: tuple[Any, Any], made: Any, fault: str, said: str
) -> None:
    def odd(given: Given) -> Iterator[Measurement]:
        """A probe that goes wrong."""
        yield one(ANSWERS[0])
        if fault == "crash":
            raise ValueError("Ida, since May.")
        if fault == "refuse":
            raise Unusable("nothing to ask")
        if fault in ("nan", "progress"):
            given.ask("odd", "champion", {}, lambda s: {"answer": (float("nan"),)})
        if fault != "one missing":
            yield one(ANSWERS[1])
        if fault == "another":
            yield one("odd")

    def nothing(given: Given) -> Iterator[Measurement]:
        """A probe that yields nothing."""
        return iter(())

    def stop(progress: Any) -> None:
        raise RuntimeError("out of time")

    ask = nothing if fault == "nothing" else odd
    made(ask)
    more = {"progress": stop} if fault == "progress" else {}
    result = run(ask, given(tmp_path, tiny, **more))
    assert not result.measurements
    assert {b.name: b.reason for b in result.broken} == dict.fromkeys(ANSWERS, said)
    assert not list(tmp_path.glob("probes/*")), "nothing that failed is kept"


def test_a_probe_that_nobody_knows_is_broken(tmp_path: Path, tiny: tuple[Any, Any]) -> None:
    (result,) = run_probes(["unheard_of"], given(tmp_path, tiny))
    assert result.broken[0].reason == "there is no probe 'unheard_of'"


def test_two_probes_of_one_name_are_refused(made: Any) -> None:
    with pytest.raises(ValueError, match="two probes are named 'extraction'"):
        made(extraction)
    with pytest.raises(ValueError, match="has no docstring"):
        made(lambda given: ())


def test_a_registered_probe_knows_its_function() -> None:
    known: Probe = load_probes()["extraction"]
    assert known.ask is extraction
