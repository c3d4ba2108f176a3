"""Measure a model: its suites run through lm-eval, every item becomes a number.

    results = measure(model, tokenizer, find_suites(), model_digest=..., role="candidate",
                      cache=home.cache)
    results.measurements     # refusal.margin@candidate, refusal.acc@candidate, ...
    results.broken           # what could not be measured, and why: never a default

Model and tokenizer are handed in. Nothing is fetched, nothing is sampled, and nothing
depends on which suites run beside a suite, so a result can be kept and compared later.
"""

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
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
FEWSHOT_SEED = 1234  # lm-eval's own default
CODE = tuple(Path(__file__).parent / name for name in ("harness.py", "samples.py", "scorer.py"))


class SuiteRun(Noun):
    """One suite on one model: its measurements, or why there are none, and what it cost."""

    suite: str
    version: int
    role: Role
    measurements: tuple[Measurement, ...] = ()
    broken: tuple[Broken, ...] = ()
    items: int = Field(ge=0)
    tokens: int = Field(default=0, ge=0, description="tokens that went through the model")
    seconds: float = Field(default=0, ge=0)
    cached: bool = Field(default=False, description="measured earlier; seconds are of then")
    samples: Path | None = Field(default=None, description="one JSON line an item, gzipped")


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
    progress: Report = ignore_progress,
) -> SuiteResults:
    """Every suite on one model, from the cache where the same was measured before.

    Measurements are named `suite.metric@role`. A suite that breaks, for whatever reason,
    gives a Broken for each of its metrics and leaves the other suites alone; this function
    itself raises nothing but an interrupt.
    """
    from tidegate.evals.scorer import Scorer

    with _quiet():
        try:
            scorer = Scorer(model, tokenizer)
        except Exception as error:  # noqa: BLE001  a model that cannot even be asked
            return SuiteResults(runs=tuple(_broken(suite, role, error) for suite in suites))
        runs = [
            _run(scorer, suite, model_digest, role, Cache(cache), progress) for suite in suites
        ]
    return SuiteResults(runs=tuple(runs))


def _run(
    scorer: "Scorer",
    suite: Suite,
    model_digest: Digest,
    role: Role,
    cache: Cache,
    progress: Report,
) -> SuiteRun:
    try:
        loaded, settings = _prepare(scorer, suite)
        key = Key(model=model_digest, suite=suite.digest, settings=settings)
        entry = cache.get(key)
        cached = entry is not None
        if entry is None:
            started, forwarded = time.monotonic(), scorer.forwarded
            samples = _evaluate(scorer, suite, loaded, role, progress)
            seconds = time.monotonic() - started
            entry = cache.put(
                key, samples, tokens=scorer.forwarded - forwarded, seconds=seconds
            )
        return SuiteRun(
            suite=suite.name,
            version=suite.version,
            role=role,
            measurements=tuple(
                measurement(suite, metric, role, entry.samples, settings)
                for metric in suite.metrics
            ),
            items=suite.n,
            tokens=entry.tokens,
            seconds=entry.seconds,
            cached=cached,
            samples=cache.log(key),
        )
    except Exception as error:  # noqa: BLE001  whatever went wrong, there is no number
        return _broken(suite, role, error)


def _broken(suite: Suite, role: Role, error: Exception) -> SuiteRun:
    names = [f"{suite.name}.{metric}@{role}" for metric in suite.metrics]
    return SuiteRun(
        suite=suite.name,
        version=suite.version,
        role=role,
        broken=tuple(Broken(name=name, reason=_reason(suite, error)) for name in names),
        items=suite.n,
    )


def _prepare(scorer: "Scorer", suite: Suite) -> tuple[dict[str, Any], Digest]:
    """The task as lm-eval loads it, and the digest of all that two runs must share.

    The prompts are rendered here to be named: a chat template may hold today's date.
    """
    import lm_eval
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
    settings = {
        "suite": suite.digest,
        "version": suite.version,
        "shots": task.config.num_fewshot,
        "prompts": digest_json([list(request.args) for request in task.instances]),
        "chat_template": digest_bytes(str(scorer.tokenizer.chat_template).encode()),
        "dtype": str(scorer.model.dtype),
        "device": scorer.device.type,
        "batches": scorer.how,
        "lm_eval": lm_eval.__version__,
        "code": {file.name: digest_file(file) for file in CODE},
    }
    return loaded, digest_json(settings)


def _evaluate(
    scorer: "Scorer", suite: Suite, loaded: dict[str, Any], role: Role, progress: Report
) -> tuple[Sample, ...]:
    from lm_eval.evaluator import evaluate

    stage = f"measure {suite.name} of the {role}"
    total = len(loaded["tasks"][suite.task].instances)
    done = 0

    def scored(requests: int) -> None:
        nonlocal done
        done += requests
        progress(Progress(stage, done, total, "answers"))

    progress(Progress(stage, 0, total, "answers"))
    scorer.scored = scored
    results = evaluate(
        lm=scorer,
        task_dict=loaded,
        bootstrap_iters=0,
        log_samples=True,
        apply_chat_template=scorer.tokenizer.chat_template is not None,
        fewshot_as_multiturn=True,
    )
    if results is None or suite.task not in results["samples"]:
        raise Unusable("lm-eval returned no samples")
    return read_samples(suite, results["samples"][suite.task], scorer.length)


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
