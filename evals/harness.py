"""Measure a model: its suites run through lm-eval, every item becomes a number.

    results = measure(model, tokenizer, find_suites(), model_digest=..., role="candidate",
                      cache=home.cache, first={"refusal": 48})
    results.measurements     # refusal.margin@candidate, refusal.acc@candidate, ...
    results.broken           # what could not be measured, and why: never a default

Model and tokenizer are handed in. Nothing is fetched, nothing is sampled, and nothing
depends on which suites run beside a suite, so a result can be kept and compared later.

Items are asked in the suite's fixed random order, in chunks of a fixed size. A chunk is
scored by itself and kept by itself: its numbers are the same to the last bit whether it was
asked alone, after others, or in a run that was killed and started again. The size of the
chunks is a setting like any other, because requests that share a tree change last digits.
"""

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tidegate.evals.cache import Cache, Key
from tidegate.evals.samples import Sample, Unusable, measurement, read_samples
from tidegate.evals.suite import Suite
from tidegate.gates.digest import digest_bytes, digest_file, digest_json
from tidegate.gates.types import (
    Broken,
    Digest,
    Measurement,
    Noun,
    Progress,
    Report,
    ignore_progress,
)

if TYPE_CHECKING:  # importing them takes seconds, and a command line must not wait for it
    import torch
    from transformers import PreTrainedTokenizerBase

    from tidegate.evals.scorer import Scorer

Role = Literal["candidate", "champion", "anchor"]
CHUNK = 16  # items; small enough to stop early, large enough for full trees
FEWSHOT_SEED = 1234  # lm-eval's own default
CODE = tuple(
    Path(__file__).parent / name
    for name in ("harness.py", "merged.py", "prefix.py", "samples.py", "scorer.py")
)
# Read once: what is running is what was there when it was imported.
SCORER = digest_json({file.name: digest_file(file) for file in CODE})
LIBRARIES = ("lm_eval", "peft", "tokenizers", "torch", "transformers")


class SuiteRun(Noun):
    """One suite on one model: its measurements, or why there are none, and what it cost.

    Tokens and seconds are of what was asked now; what was kept from earlier costs nothing.
    """

    suite: str
    version: int
    role: Role
    measurements: tuple[Measurement, ...] = ()
    broken: tuple[Broken, ...] = ()
    items: int = Field(ge=0, description="items of the suite that were asked for")
    tokens: int = Field(default=0, ge=0, description="tokens that went through the model")
    seconds: float = Field(default=0, ge=0)
    cached: bool = Field(default=False, description="all of it was measured earlier")
    samples: tuple[Sample, ...] = Field(default=(), description="in the order measured")


class SuiteResults(Noun):
    runs: tuple[SuiteRun, ...]

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        return tuple(m for run in self.runs for m in run.measurements)

    @property
    def broken(self) -> tuple[Broken, ...]:
        return tuple(b for run in self.runs for b in run.broken)


def measure(
    model: "torch.nn.Module",
    tokenizer: "PreTrainedTokenizerBase",
    suites: Sequence[Suite],
    *,
    model_digest: Digest,
    role: Role,
    cache: Path,
    first: Mapping[str, int] | None = None,
    chunk: int = CHUNK,
    progress: Report = ignore_progress,
) -> SuiteResults:
    """Every suite on one model, from the cache where the same was measured before.

    `first` says how many items of each suite, by its name, are asked, in the suite's order
    and rounded up to whole chunks; None asks all. Measurements are named
    `suite.metric@role`. A suite that breaks, for whatever reason, gives a Broken for each of
    its metrics and leaves the other suites alone; a chunk that breaks, or an error that
    `progress` raises, breaks the suite. This function raises nothing but an interrupt.
    """
    subject = Subject(model, tokenizer, model_digest, cache, chunk)
    return subject.measure(suites, role=role, first=first, progress=progress)


@dataclass(frozen=True)
class Exam:
    """A suite as one model is asked it: the task as lm-eval loads it, and its settings."""

    suite: Suite
    loaded: dict[str, Any]
    settings: dict[str, str]
    places: dict[str, int]  # of each item among the task's documents
    requests: dict[str, int]  # of each item
    chunks: tuple[tuple[str, ...], ...]

    def first(self, items: int) -> tuple[tuple[str, ...], ...]:
        """The chunks that hold the first items, at least so many."""
        if items < 1:
            raise Unusable(f"{items} items were asked for; a measurement needs one at least")
        return self.chunks[: -(-items // len(self.chunks[0]))]


class Subject:
    """One model, ready to be asked for more and more items. Its arguments are measure()'s."""

    def __init__(
        self,
        model: "torch.nn.Module",
        tokenizer: "PreTrainedTokenizerBase",
        model_digest: Digest,
        cache: Path,
        chunk: int = CHUNK,
        tree_tokens: int | None = None,
    ) -> None:
        """tree_tokens: the scorer's; more than its own where every prompt begins alike."""
        self.model, self.tokenizer, self.digest = model, tokenizer, model_digest
        self.cache, self.chunk, self.tree_tokens = Cache(cache), chunk, tree_tokens
        self.exams: dict[Digest, Exam] = {}

    def measure(
        self,
        suites: Sequence[Suite],
        *,
        role: Role,
        first: Mapping[str, int] | None = None,
        progress: Report = ignore_progress,
    ) -> SuiteResults:
        """Like the function measure(); what was prepared for earlier calls is kept."""
        with _quiet():
            runs = [self._run(suite, role, first, progress) for suite in suites]
        return SuiteResults(runs=tuple(runs))

    @cached_property
    def scorer(self) -> "Scorer":
        from tidegate.evals.scorer import TREE_TOKENS, Scorer

        tokens = TREE_TOKENS if self.tree_tokens is None else self.tree_tokens
        return Scorer(self.model, self.tokenizer, tree_tokens=tokens)

    def _run(
        self, suite: Suite, role: Role, first: Mapping[str, int] | None, progress: Report
    ) -> SuiteRun:
        try:
            exam = self._exam(suite)
            chunks = exam.first(suite.n if first is None else first[suite.name])
            keys = [self._key(exam, chunk) for chunk in chunks]
            kept = {key.items: self.cache.get(key) for key in keys}
            absent = [key for key in keys if kept[key.items] is None]
            started, forwarded = time.monotonic(), self.scorer.forwarded
            self._report(exam, role, absent, progress)
            for key in absent:
                answers = self._ask(exam, key.items)
                self.cache.put(key, answers)
                kept[key.items] = answers
            samples = [sample for answers in kept.values() for sample in answers or ()]
            return SuiteRun(
                suite=suite.name,
                version=suite.version,
                role=role,
                measurements=tuple(
                    measurement(suite, metric, role, samples, exam.settings)
                    for metric in suite.metrics
                ),
                items=len(samples),
                tokens=self.scorer.forwarded - forwarded,
                seconds=time.monotonic() - started if absent else 0,
                cached=not absent,
                samples=tuple(samples),
            )
        except Exception as error:  # noqa: BLE001  whatever went wrong, there is no number
            return broken(suite, role, _reason(suite, error))

    def _exam(self, suite: Suite) -> Exam:
        if suite.digest not in self.exams:
            self.exams[suite.digest] = _prepare(self.scorer, suite, self.chunk)
        return self.exams[suite.digest]

    def _key(self, exam: Exam, items: tuple[str, ...]) -> Key:
        settings = digest_json(exam.settings)
        return Key(model=self.digest, suite=exam.suite.digest, settings=settings, items=items)

    def _report(self, exam: Exam, role: Role, absent: Sequence[Key], progress: Report) -> None:
        """Let the scorer count the answers of this run."""
        if not absent:
            return
        stage = f"measure {exam.suite.name} of the {role}"
        before = exam.suite.order.index(absent[0].items[0])
        if before:
            stage += f" from {before + 1}"
        total = sum(exam.requests[item] for key in absent for item in key.items)
        done = 0

        def scored(requests: int) -> None:
            nonlocal done
            done += requests
            progress(Progress(stage, done, total, "answers"))

        progress(Progress(stage, 0, total, "answers"))
        self.scorer.scored = scored

    def _ask(self, exam: Exam, items: tuple[str, ...]) -> tuple[Sample, ...]:
        from lm_eval.evaluator import evaluate

        task = exam.suite.task
        # Examples are drawn anew for each chunk: they may not depend on the chunks before.
        exam.loaded["tasks"][task].set_fewshot_seed(seed=FEWSHOT_SEED)
        results = evaluate(
            lm=self.scorer,
            task_dict=exam.loaded,
            samples={task: sorted(exam.places[item] for item in items)},
            bootstrap_iters=0,
            log_samples=True,
            apply_chat_template=self.tokenizer.chat_template is not None,
            fewshot_as_multiturn=True,
        )
        if results is None or task not in results["samples"]:
            raise Unusable("lm-eval returned no samples")
        return read_samples(exam.suite, items, results["samples"][task], self.scorer.length)


def broken(suite: Suite, role: Role, reason: str) -> SuiteRun:
    """A suite without a number on one model, and why."""
    names = [f"{suite.name}.{metric}@{role}" for metric in suite.metrics]
    return SuiteRun(
        suite=suite.name,
        version=suite.version,
        role=role,
        broken=tuple(Broken(name=name, reason=reason) for name in names),
        items=0,
    )


def _prepare(scorer: "Scorer", suite: Suite, chunk: int) -> Exam:
    """Load the task, and name all that two runs must share.

    The prompts are rendered here to be named: a chat template may hold today's date.
    """
    from lm_eval.tasks import TaskManager

    loaded = TaskManager(include_defaults=False).load([str(suite.path)])
    task = loaded["tasks"][suite.task]
    if task.config.num_fewshot is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=FEWSHOT_SEED)
    chat = scorer.tokenizer.chat_template is not None
    task.build_all_requests(
        apply_chat_template=chat,
        fewshot_as_multiturn=True,
        chat_template=scorer.apply_chat_template if chat else None,
    )
    documents = [dict(document) for document in task.eval_docs]
    places = {str(document["id"]): place for place, document in enumerate(documents)}
    absent = [item for item in suite.items if item not in places]
    if absent or len(documents) != suite.n:
        which = f"; {absent[0]} is missing" if absent else ""
        raise Unusable(f"the task has {len(documents)} items, the suite {suite.n}{which}")
    prompts: dict[str, list[list[Any]]] = {}
    for request in task.instances:
        prompts.setdefault(str(request.doc["id"]), []).append(list(request.args))
    settings = {
        "suite": f"{suite.name} {suite.digest}",
        "task version": str(suite.version),
        "shots": str(task.config.num_fewshot),
        "prompts": digest_json(prompts),
        "documents": digest_json(documents),
        "chat template": digest_bytes(str(scorer.tokenizer.chat_template).encode()),
        "dtype": str(scorer.model.dtype),
        "device": scorer.device.type,
        "batches": scorer.how,
        "chunk": f"{chunk} items",
        "scorer": SCORER,
        **{library: version(library) for library in LIBRARIES},
    }
    order = suite.order
    return Exam(
        suite=suite,
        loaded=loaded,
        settings=settings,
        places=places,
        requests={item: len(asked) for item, asked in prompts.items()},
        chunks=tuple(order[at : at + chunk] for at in range(0, suite.n, chunk)),
    )


def _reason(suite: Suite, error: Exception) -> str:
    """What went wrong. Of a private suite only the kind: a message may quote a text."""
    if suite.private and not isinstance(error, Unusable):
        return f"{type(error).__name__} (its message is withheld: the suite holds users' text)"
    return f"{type(error).__name__}: {error}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """lm-eval warns of documented habits on every run; only its errors are news."""
    log = logging.getLogger("lm_eval")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
