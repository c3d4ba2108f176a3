"""What the shipped suites tell about a base model: score, noise, ceiling, smallest regression.

    python infra/suites.py --json suites.json

    score     of the base, as it is; with the standard deviation of its items (sd)
    ceiling   of the same model with the right answer shown before the question: what no update
              of it can be expected to pass, and a check that an item can be answered at all
    unclear   items that stay wrong although the answer is shown: their ids are in the JSON
    sees      the smallest mean loss that is told from none with power 80 %, by the spread of an
              ordinary update (the calibration beside the policy)

Prints a table in Markdown. Answers are kept in the home's cache.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from statistics import stdev
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from tidegate.evals.files import write_whole
from tidegate.evals.harness import measure as run_suites
from tidegate.evals.suite import Choices, Suite, find_suites, load_suite
from tidegate.flows.home import Home
from tidegate.training.base import find_base, load_model

POLICIES = Path(__file__).parents[1] / "policies"
SHOWN = "{question}\n\n(For your information: the right answer here is: {answer})"


def main() -> int:
    a = _parser().parse_args()
    home = Home(a.home)
    base = find_base(a.base, home.cache)
    model, tokenizer = load_model(base)
    suites = find_suites()
    seen = json.loads(a.calibration.read_text())["gates"]
    with tempfile.TemporaryDirectory() as folder:
        shown = [
            told(suite, Path(folder)) for suite in suites if suite.kind == "multiple_choice"
        ]
        found: dict[str, Any] = {}
        for what, asked in (("as_is", suites), ("shown", shown)):
            results = run_suites(
                model,
                tokenizer,
                asked,
                model_digest=base.digest,
                role="champion",
                cache=home.cache,
            )
            if results.broken:
                raise SystemExit(f"{results.broken[0].name}: {results.broken[0].reason}")
            for one in results.measurements:
                name, metric = one.name.rpartition("@")[0].rsplit(".", 1)
                found.setdefault(name, {})[what, metric] = one
    lines = [_line(suite, found[suite.name], seen) for suite in suites]
    write_whole(a.json, (json.dumps(lines, indent=1) + "\n").encode())
    print("| suite | items | score | sd | margin or nll | sd | ceiling | unclear | sees |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for line in lines:
        print("| " + " | ".join(_cells(line)) + " |")
    return 0


def told(suite: Suite, folder: Path) -> Suite:
    """The suite with each right answer written behind its question."""
    rows = []
    for item in suite.read():
        assert isinstance(item, Choices)
        right = item.choices[item.answer]
        question = SHOWN.format(question=item.question, answer=right)
        rows.append(item.model_copy(update={"question": question}).model_dump(mode="json"))
    task = suite.path.read_text().replace(
        "!function items.", "!function tidegate.evals.tasks.items."
    )
    (folder / f"{suite.name}.yaml").write_text(task)
    (folder / f"{suite.name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_suite(folder / f"{suite.name}.yaml")


def _line(
    suite: Suite, found: dict[tuple[str, str], Any], seen: dict[str, Any]
) -> dict[str, Any]:
    line: dict[str, Any] = {"suite": suite.name, "version": suite.version, "items": suite.n}
    line["digest"] = suite.digest
    for (what, metric), one in found.items():
        line[f"{what}.{metric}"] = [one.value, stdev(one.values)]
    if ("shown", "acc") in found:
        told_right = found["shown", "acc"]
        pairs = zip(told_right.items, told_right.values, strict=True)
        line["unclear"] = [item for item, value in pairs if not value]
    metric = "nll" if suite.kind == "loglikelihood_rolling" else "margin"
    sees = [
        gate["smallest_detectable"]
        for title, gate in seen.items()
        if f"({suite.name}.{metric})" in title
    ]
    line["sees"] = sees[0] if sees else None
    return line


def _cells(line: dict[str, Any]) -> list[str]:
    def mean_sd(name: str) -> list[str]:
        value = line.get(name)
        return [f"{value[0]:.2f}", f"{value[1]:.2f}"] if value else ["–", "–"]

    main = "as_is.nll" if "as_is.nll" in line else "as_is.margin"
    ceiling = line.get("shown.acc")
    return [
        line["suite"],
        str(line["items"]),
        *mean_sd("as_is.acc"),
        *mean_sd(main),
        f"{ceiling[0]:.2f}" if ceiling else "–",
        str(len(line["unclear"])) if "unclear" in line else "–",
        f"{line['sees']:.3f}" if line["sees"] is not None else "–",
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--base", default="smollm2-135m-instruct")
    parser.add_argument(
        "--calibration", type=Path, default=POLICIES / "default.calibration.json"
    )
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--home", type=Path, default=Path(".tidegate"))
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
