"""Suites from a file of probes: what changed with time, and what a new fact implies.

A probe says with `kind` what it asks:

    recall     the new fact itself (the suite `update`)
    now        the new value of a fact that changed; also asked in `update`
    as_of      the old value, asked with its date
    invariant  a fact that did not change and looks like one that did
    reversal   the same fact asked from the other side ("who is the capital of" the other way)
    hop        what follows from it and from common knowledge
    alias      the same fact under another name
    negation   that the opposite is denied

`time` asks now, as_of and invariant. `consequences` asks the last four, and
`consequences_in_context` asks the same with the fact written before the question: the
probe's `context`, or the answers to the recall and now probes of the same `fact`.
All of them hold what an operator wrote about users' facts, so they are private.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from tidegate.evals.files import write_whole
from tidegate.evals.suite import Suite, SuiteError, load_suite
from tidegate.evals.task_file import choices_task
from tidegate.evals.update_suite import Probe, read_probes
from tidegate.gates.made import CONSEQUENCES, IN_CONTEXT, TIME

VERSION = 1
TOLD = ("recall", "now")
KINDS = {
    TIME: ("now", "as_of", "invariant"),
    CONSEQUENCES: ("reversal", "hop", "alias", "negation"),
    IN_CONTEXT: ("reversal", "hop", "alias", "negation"),
}


def build(name: str, probes: Path, *, out: Path) -> Suite:
    """Write `out`/`name`.yaml and .jsonl and return them as a suite.

    Raises SuiteError for a probe that cannot be used, for a kind of which there is none in
    `time`, and for an implied fact without a context.
    """
    items = list(_items(name, probes))
    write_whole(out / f"{name}.jsonl", "".join(items).encode())
    task = choices_task(
        name,
        version=VERSION,
        metrics=("margin", "acc"),
        about={"private": True, "asks": "probes by kind"},
    )
    write_whole(out / f"{name}.yaml", task.encode())
    return load_suite(out / f"{name}.yaml")


def check(name: str, probes: Path | None) -> None:
    """Raise SuiteError, with what would do, where the suite cannot be made of the probes."""
    if probes is None:
        asked = ", ".join(KINDS[name])
        raise SuiteError(
            f"the policy asks about {name}, and no probes were given; give --probes a file "
            f"with probes of the kinds {asked}"
        )
    _items(name, probes)


def _items(name: str, path: Path) -> list[str]:
    probes = list(read_probes(path))
    chosen = [probe for probe in probes if probe.kind in KINDS[name]]
    kinds = {probe.kind for probe in chosen}
    absent = [kind for kind in KINDS[name] if kind not in kinds]
    if absent and (name == TIME or not chosen):
        raise SuiteError(
            f"{path}: no probe is of the kind {absent[0]}, which the suite {name} needs; add "
            f'some with "kind": "{absent[0]}"'
        )
    return [_line(name, probe, probes, path) for probe in chosen]


def _line(name: str, probe: Probe, probes: Sequence[Probe], path: Path) -> str:
    question = probe.question.strip()
    if name == IN_CONTEXT:
        question = f"{_context(probe, probes, path)}\n\n{question}"
    return (
        json.dumps(
            {
                "id": probe.id,
                "slice": probe.kind,
                # Facts may be named after people: the name is hashed, and still groups.
                "tags": {"fact": hashlib.sha256(probe.fact.encode()).hexdigest()[:12]},
                "question": question,
                "choices": [text.strip() for text in (probe.answer, *probe.distractors)],
                "answer": 0,
            },
            ensure_ascii=True,
        )
        + "\n"
    )


def _context(probe: Probe, probes: Sequence[Probe], path: Path) -> str:
    told = [p.answer.strip() for p in probes if p.fact == probe.fact and p.kind in TOLD]
    context = probe.context.strip() or " ".join(dict.fromkeys(told))
    if not context:
        raise SuiteError(
            f"{path}: the probe {probe.id!r} has no context, and no probe of the kind recall "
            "or now is about the same fact; write one of them"
        )
    return context
