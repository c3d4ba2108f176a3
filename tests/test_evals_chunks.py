"""Asking a suite piece by piece: the order, the chunks, what is kept, what must be equal."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from peft import PromptTuningConfig, get_peft_model

from tests.suites import ONE, TWO, choices, run, tiny_model, write_suite
from tests.tiny import tiny_base
from tidegate.evals.harness import CHUNK, LIBRARIES, Role, measure
from tidegate.evals.samples import Unusable, read_samples
from tidegate.evals.suite import Suite, load_suite
from tidegate.gates.comparison import paired
from tidegate.gates.digest import digest_json
from tidegate.gates.statistics.estimate import NotComparable
from tidegate.gates.types import CandidateEvidence, Measurement, Progress

SETTINGS = {
    *("suite", "task version", "shots", "prompts", "documents", "chat template", "chunk"),
    *("dtype", "device", "batches", "scorer", *LIBRARIES),
}


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("evals") / "tiny")


@pytest.fixture
def tiny(base: Path) -> tuple[Any, Any]:
    return tiny_model(base)


def evidence(*measurements: Measurement) -> CandidateEvidence:
    return CandidateEvidence(subject=ONE, measurements=measurements)


def without(settings: dict[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in settings.items() if key != name}


def test_a_sample_too_few_is_no_measurement(tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "s", "sums", choices())
    logged = [{"doc": {"id": "q-0"}}, {"doc": {"id": "q-1"}}]
    with pytest.raises(Unusable, match="2 samples came back for 3 items; q-2 is missing"):
        read_samples(suite, ("q-0", "q-1", "q-2"), logged, len)
    with pytest.raises(Unusable, match="2 samples came back for 1 items"):
        read_samples(suite, ("q-0",), logged, len)


def test_a_chunk_that_breaks_breaks_its_suite(tiny: tuple[Any, Any], tmp_path: Path) -> None:
    """The items that worked would be a shorter suite that looks as if it was planned."""
    long = [*choices(11), {**choices()[0], "id": "long", "question": "why? " * 200}]
    suite = write_suite(tmp_path / "s", "sums", long)
    before = suite.order.index("long") // 2 * 2
    assert before > 2
    works = run(tiny, suite, tmp_path, chunk=2, first=before)
    assert not works.broken and works.measurements[0].n == before
    breaks = run(tiny, suite, tmp_path, chunk=2, first=before + 1)
    assert breaks.measurements == () and len(breaks.broken) == 2
    assert breaks.items == 0 and breaks.samples == ()


def test_a_result_is_kept_and_a_damaged_one_is_made_again(
    tiny: tuple[Any, Any], tmp_path: Path
) -> None:
    suite = write_suite(tmp_path / "s", "sums", choices())
    first = run(tiny, suite, tmp_path)
    again = run(tiny, suite, tmp_path)
    assert (first.cached, again.cached) == (False, True)
    assert (again.tokens, again.seconds) == (0, 0)
    assert again.measurements == first.measurements
    (entry,) = tmp_path.glob("evals/*.json.gz")
    assert not run(tiny, suite, tmp_path, model=TWO).cached
    stored = json.loads(gzip.decompress(entry.read_bytes()))
    short = json.loads(json.dumps(stored))
    stored["entry"]["samples"][0]["metrics"]["margin"] = 99.0
    short["entry"]["samples"].pop()  # with a digest that fits
    short["digest"] = digest_json(short["entry"])
    damages = [gzip.compress(json.dumps(bad).encode()) for bad in (stored, short)]
    for damaged in (*damages, b"not gzip", b"", None):
        if damaged is None:
            entry.unlink()
        else:
            entry.write_bytes(damaged)
        redone = run(tiny, suite, tmp_path)
        assert not redone.cached and redone.measurements == first.measurements
        assert run(tiny, suite, tmp_path).cached


def test_more_items_later_are_all_that_is_measured(
    tiny: tuple[Any, Any], tmp_path: Path
) -> None:
    """Bit for bit the same, however often somebody looked in between."""
    suite = write_suite(tmp_path / "s", "sums", choices(22))
    whole = run(tiny, suite, tmp_path / "whole", chunk=8)
    assert whole.measurements[0].items == suite.order
    tokens = 0
    for first, items in ((8, 8), (9, 16), (16, 16), (22, 22)):
        part = run(tiny, suite, tmp_path / "parts", chunk=8, first=first)
        margin = part.measurements[0]
        assert margin.items == suite.order[:items] and margin.planned == 22
        assert margin.values == whole.measurements[0].values[:items]
        assert margin.slices == {"slice": whole.measurements[0].slices["slice"][:items]}
        assert part.cached == (first == 16) and part.items == items
        tokens += part.tokens
    assert part.measurements == whole.measurements and tokens == whole.tokens
    assert run(tiny, suite, tmp_path / "parts", chunk=8).cached


def test_chunks_change_only_last_digits(tiny: tuple[Any, Any], tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "s", "sums", choices(22))
    small, large = (run(tiny, suite, tmp_path, chunk=chunk) for chunk in (3, 22))
    assert not large.cached
    for ours, theirs in zip(small.measurements, large.measurements, strict=True):
        assert ours.values == pytest.approx(theirs.values, abs=1e-4)


def test_who_watches_may_end_it(tiny: tuple[Any, Any], tmp_path: Path) -> None:
    """What was scored by then is kept; what was not is no number."""
    suite = write_suite(tmp_path / "s", "sums", choices(22))

    def watch(now: Progress) -> None:
        if now.done > 10 * 3:
            raise TimeoutError("the time is over")

    asked: dict[str, Any] = {"model_digest": ONE, "role": "candidate", "cache": tmp_path}
    got = measure(*tiny, [suite], **asked, chunk=8, progress=watch).runs[0]
    assert not got.measurements and got.broken[0].reason == "TimeoutError: the time is over"
    kept = measure(*tiny, [suite], **asked, chunk=8, first={"sums": 8}).runs[0]
    assert kept.cached and kept.items == 8


@pytest.mark.parametrize("first", [0, -8])
def test_no_items_are_no_measurement(tiny: tuple[Any, Any], tmp_path: Path, first: int) -> None:
    got = run(tiny, write_suite(tmp_path / "s", "sums", choices()), tmp_path, first=first)
    assert not got.measurements and f"{first} items were asked for" in got.broken[0].reason


def test_items_are_asked_in_an_order_of_their_own(tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "a", "sums", choices(40))
    turned = write_suite(tmp_path / "b", "sums", choices(40)[::-1])
    other = write_suite(tmp_path / "c", "more", choices(40))
    assert suite.order == turned.order != suite.items
    assert suite.order != other.order
    longer = write_suite(tmp_path / "d", "sums", choices(60))
    assert suite.order == tuple(item for item in longer.order if item in suite.items)


def test_tags_slice_a_suite_too(tiny: tuple[Any, Any], tmp_path: Path) -> None:
    tagged = [
        {**item, "tags": {"language": "en" if i < 3 else "de", "level": "a"}}
        for i, item in enumerate(choices())
    ]
    suite = write_suite(tmp_path / "s", "sums", tagged)
    found = run(tiny, suite, tmp_path / "cache").measurements[0]
    assert set(found.slices) == {"slice", "language", "level"}
    by_item = dict(zip(found.items, found.slices["language"], strict=True))
    assert by_item == {"q-0": "en", "q-1": "en", "q-2": "en", "q-3": "de"}


def test_each_setting_must_be_equal(tiny: tuple[Any, Any], tmp_path: Path) -> None:
    """lm-eval's comparator pairs nothing, and its results move with the batch size."""
    suite = write_suite(tmp_path / "s", "sums", choices(12))
    roles: tuple[Role, ...] = ("candidate", "champion")
    made = [
        measure(*tiny, [suite], model_digest=ONE, role=role, cache=tmp_path).measurements[0]
        for role in roles
    ]
    settings = made[1].settings
    assert settings is not None and set(settings) == SETTINGS
    assert paired(evidence(*made), "sums", "margin", "champion").values == (0.0,) * 12
    for name in SETTINGS:
        for changed in ({**settings, name: "other"}, without(settings, name)):
            theirs = made[1].model_copy(update={"settings": changed})
            with pytest.raises(NotComparable, match=f"measured with another {name}$"):
                paired(evidence(made[0], theirs), "sums", "margin", "champion")


def test_what_differs_is_named(tiny: tuple[Any, Any], tmp_path: Path) -> None:
    model, tokenizer = tiny

    def settings(suite: Suite, chunk: int = CHUNK, model: Any = model) -> dict[str, str]:
        got = run((model, tokenizer), suite, tmp_path / "cache", chunk=chunk)
        found = got.measurements[0].settings
        assert found is not None
        return found

    def differ(other: dict[str, str]) -> set[str]:
        assert other.keys() == plain.keys()
        return {name for name in plain if plain[name] != other[name]}

    suite = write_suite(tmp_path / "a", "sums", choices())
    plain = settings(suite)
    assert not differ(settings(write_suite(tmp_path / "b", "sums", choices())))
    another = settings(write_suite(tmp_path / "c", "sums", choices(5)))
    assert differ(another) == {"suite", "prompts", "documents"}
    text = suite.path.read_text().replace("version: 1", "version: 2")
    suite.path.write_text(text)
    assert differ(settings(load_suite(suite.path))) == {"suite", "task version"}
    suite.path.write_text(text.replace("version: 2", "version: 1"))
    assert differ(settings(suite, chunk=3)) == {"chunk"}
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    assert differ(settings(suite, model=get_peft_model(model, config))) == {"batches"}
    tokenizer.chat_template = tokenizer.chat_template.replace("assistant", "model")
    assert differ(settings(suite)) == {"chat template", "prompts"}
