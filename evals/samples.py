"""From what lm-eval logged of each item to the numbers of that item.

    margin      log-likelihood per token of the right answer minus that of the likeliest
                wrong one, in nats per token; positive when the right one is likelier
    acc         1 if the margin is positive, else 0
    answer_nll  negative log-likelihood per token of the right answer
    nll         negative log-likelihood per token of a passage

A margin is per token because answers differ in length. The tokens are those that lm-eval
scores: the answer's and, where the chat template ends in white space, that white space. It
adds nearly nothing to any log-likelihood, and one to every count, which keeps an answer of
a single rare token from outweighing all others: on SmolLM2-135M the spread of `knowledge`
is half of what it is without (1.2 for 2.2) and more items are right (67 % for 62 %). Models
are only compared with models of the same tokenizer and template, so the unit is the same.
lm-eval's own `acc` compares sums over tokens instead.

An item without a finite number, or an item too few, breaks the whole suite: a mean over
the items that happened to work is another measurement.
"""

import gzip
import json
import math
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field
from scipy import stats

from tidegate.evals.files import write_whole
from tidegate.evals.suite import Metric, Suite
from tidegate.gates.types import Measurement, Noun


class Unusable(ValueError):
    """What lm-eval returned does not give one finite number for every item."""


class Sample(Noun):
    """One item, as one model answered it. Numbers and names only: never a text."""

    item: str
    slice: str
    logliks: tuple[float, ...] = Field(description="nats, of each choice or of the passage")
    tokens: tuple[int, ...] = Field(description="tokens scored, of each choice or the passage")
    metrics: dict[str, float]


def read_samples(
    suite: Suite,
    items: Sequence[str],
    logged: Sequence[Mapping[str, Any]],
    length: Callable[..., int],
) -> tuple[Sample, ...]:
    """The samples of these items of the suite, in their order.

    `logged` are lm-eval's logged samples; `length` gives the tokens scored for the texts of
    one request. Raises Unusable for a sample too few or too many, and for a number that is
    not finite.
    """
    by_item = {str(entry["doc"]["id"]): entry for entry in logged}
    absent = [item for item in items if item not in by_item]
    if absent or len(logged) != len(items):
        first = f"; {absent[0]} is missing" if absent else ""
        raise Unusable(f"{len(logged)} samples came back for {len(items)} items{first}")
    return tuple(_sample(suite, item, by_item[item], length) for item in items)


def _sample(
    suite: Suite, item: str, entry: Mapping[str, Any], length: Callable[..., int]
) -> Sample:
    texts = suite.kind == "loglikelihood_rolling"
    logliks = tuple(float(r if texts else r[0]) for r in entry["filtered_resps"])
    tokens = tuple(length(*arguments) for arguments in entry["arguments"])
    if not logliks or len(logliks) != len(tokens):
        raise Unusable(f"{item}: {len(logliks)} answers came back for {len(tokens)} requests")
    for loglik in logliks:
        if not math.isfinite(loglik):
            raise Unusable(f"{item}: the log-likelihood is {loglik}")
    per_token = [loglik / n for loglik, n in zip(logliks, tokens, strict=True)]
    if texts:
        metrics = {"nll": -per_token[0]}
    else:
        right = int(entry["target"])
        margin = per_token[right] - max(v for i, v in enumerate(per_token) if i != right)
        metrics = {
            "margin": margin,
            "acc": float(margin > 0),
            "answer_nll": -per_token[right],
        }
    return Sample(
        item=item,
        slice=suite.slices[item],
        logliks=logliks,
        tokens=tokens,
        metrics={name: metrics[name] for name in suite.metrics},
    )


def measurement(
    suite: Suite,
    metric: Metric,
    role: str,
    samples: Sequence[Sample],
    settings: dict[str, str],
) -> Measurement:
    """The mean over items, its two-sided 95 % interval by Student's t, and the values."""
    items = tuple(sample.item for sample in samples)
    values = tuple(sample.metrics[metric] for sample in samples)
    mean, low, high = mean_interval(values)
    return Measurement(
        name=f"{suite.name}.{metric}@{role}",
        value=mean,
        low=low,
        high=high,
        n=len(values),
        items=items,
        values=values,
        slices=suite.labels(items),
        settings=settings,
        planned=suite.n,
    )


def mean_interval(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """The mean and its two-sided 95 % interval by Student's t; a single value has none."""
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return mean, None, None
    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    half = float(stats.t.ppf(0.975, n - 1)) * spread / math.sqrt(n)
    return mean, mean - half, mean + half


def write_samples(path: Path, samples: Iterable[Sample]) -> None:
    """One JSON line an item, gzipped; equal samples make equal bytes."""
    lines = "".join(json.dumps(sample.model_dump(mode="json")) + "\n" for sample in samples)
    write_whole(path, gzip.compress(lines.encode(), mtime=0))


def read_written(path: Path) -> tuple[Sample, ...]:
    """What write_samples wrote. Raises Unusable for a file that is damaged or not there."""
    try:
        lines = gzip.decompress(path.read_bytes()).decode().splitlines()
        return tuple(Sample.model_validate_json(line) for line in lines)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise Unusable(f"{path}: no samples can be read ({type(error).__name__})") from None
