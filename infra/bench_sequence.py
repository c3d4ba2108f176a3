"""`make bench-sequence`: a sequence of updates on one model, by one method after another.

    python infra/bench_sequence.py --arms lora anchored joint in-context --updates 4 --seeds 3

Without --arms every arm is run, which takes hours on a CPU. After each update all held-out
probes of every update are asked again, with the drift on text and the willingness to decline.
What is finished is kept in the home's cache by the digests of all that decides it: run the same
command again after it was killed, and only what is missing is done. An arm that fails is
named, the others are run, and the command ends with 1.

    python infra/bench_sequence.py --from a/results.json b/results.json --claims anchored@1e-3

measures nothing, and writes one table of what several runs measured, each with arms or seeds of
its own. Runs that differ in anything else are refused.

Writes results.json (every number, item by item), table.md, tradeoff.png and retention.png.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tidegate.flows import environment
from tidegate.flows.home import Home
from tidegate.flows.usage import UsageError

if TYPE_CHECKING:
    from tidegate.flows.sequencing.benchmark import Benchmark

ROOT = Path(__file__).parents[1]
MEASURING = ("arms", "updates", "groups", "seeds", "first", "tofu", "base", "recipes", "epochs",
             "rows_per_step", "learning_rate", "texts", "refusals")  # fmt: skip


def main() -> int:
    p = _parser()
    a = p.parse_args()
    if a.joined and (given := [n for n in MEASURING if getattr(a, n) != p.get_default(n)]):
        named = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        p.error(f"--from measures nothing, so it takes no {named}")
    home = Home.find(a.home)
    environment.prepare(home)
    from tidegate.flows.sequencing.claims import CLAIMED
    from tidegate.flows.sequencing.show import write

    try:
        benchmark = _joined(a) if a.joined else _measured(a, home)
    except UsageError as no:
        print(f"error: {no}", file=sys.stderr)
        return 3
    print(write(benchmark, a.out, a.claims or CLAIMED), end="")
    print(f"\nwritten to {a.out}")
    for arm, why in benchmark.failed.items():
        print(f"{arm}: {why}", file=sys.stderr)
    return 1 if benchmark.failed else 0


def _joined(a: argparse.Namespace) -> "Benchmark":
    from tidegate.flows.sequencing.claims import claimed_arm
    from tidegate.flows.sequencing.join import join

    benchmark = join(a.joined)
    target = (a.out / "results.json").resolve()
    if len(a.joined) > 1 and target in [path.resolve() for path in a.joined]:
        raise UsageError(f"--out {a.out}: would overwrite a run that is joined; name another")
    if a.claims:
        claimed_arm(a.claims, {result.arm: result.kind for result in benchmark.results})
    return benchmark


def _measured(a: argparse.Namespace, home: Home) -> "Benchmark":
    from tidegate.evals.sequence.fiction import FACTS, fiction
    from tidegate.evals.sequence.tofu import tofu
    from tidegate.flows.calibrating.twins import machine
    from tidegate.flows.progress import report, showing
    from tidegate.flows.provenance import code_digest, environment_digest, revision
    from tidegate.flows.sequencing.arms import arm_names, find_arms
    from tidegate.flows.sequencing.benchmark import Benchmark
    from tidegate.flows.sequencing.claims import claimed_arm
    from tidegate.flows.sequencing.run import Asked, SequenceError, Series, run_arm
    from tidegate.training.anchors import AnchorError
    from tidegate.training.base import find_base
    from tidegate.training.trained import TrainingError

    settings = {name: value for name in ("epochs", "rows_per_step", "learning_rate")
                if (value := getattr(a, name)) is not None}  # fmt: skip
    arms = find_arms(a.arms or arm_names(a.recipes), a.recipes, **settings)
    if a.claims:  # before hours of measuring
        claimed_arm(a.claims, {arm.name: arm.kind for arm in arms})
    base = find_base(a.base, home.cache)
    asked = Asked(texts=a.texts, refusals=a.refusals)
    failed, results = {}, []
    with showing(Console(stderr=True)):
        for seed in range(a.first, a.first + a.seeds):
            if a.tofu:
                lessons = tofu(a.tofu, a.updates, a.groups * FACTS, seed)
            else:
                lessons = fiction(a.updates, a.groups, seed)
            for arm in arms:
                try:
                    results.append(
                        run_arm(arm, Series(base, lessons, seed, asked, home), report)
                    )
                except (SequenceError, TrainingError, AnchorError) as no:
                    failed[f"{arm.name}, seed {seed}"] = str(no)
    data = f"{a.updates} updates of {a.groups * FACTS} facts"
    return Benchmark(
        base=base.name,
        base_digest=base.digest,
        data=f"{data} of TOFU" if a.tofu else f"{data}, invented",
        settings={**settings, **asked.model_dump(), "first": a.first, "seeds": a.seeds},
        recipes={arm.name: arm.recipe.model_dump(mode="json") for arm in arms if arm.recipe},
        code=code_digest(),
        revision=revision(),
        environment=environment_digest(),
        machine=machine(),
        results=tuple(results),
        failed=failed,
    )


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument(
        "--arms", nargs="+", metavar="ARM", help="RECIPE, RECIPE@RATE, joint, in-context"
    )
    p.add_argument("--updates", type=int, default=4)
    p.add_argument("--groups", type=int, default=4, help="ten facts each, in every update")
    p.add_argument("--seeds", type=int, default=2, help="sequences, each of other facts")
    p.add_argument("--first", type=int, default=0, help="the first seed")
    p.add_argument("--tofu", type=Path, help="file or folder of TOFU's perturbed rows")
    p.add_argument("--base", default="smollm2-135m-instruct")
    p.add_argument("--recipes", type=Path, default=ROOT / "policies/recipes")
    p.add_argument("--epochs", type=int, help="for every arm, instead of its recipe's")
    p.add_argument("--rows-per-step", type=int)
    p.add_argument("--learning-rate", type=float)
    p.add_argument("--texts", type=int, default=24, help="passages for drift")
    p.add_argument("--refusals", type=int, default=32)
    p.add_argument("--claims", metavar="ARM", help="of which claims are made; default anchored")
    p.add_argument("--from", dest="joined", nargs="+", type=Path, metavar="FILE",
                   help="results.json of earlier runs to join; nothing is measured")  # fmt: skip
    p.add_argument("--home", type=Path, help="folder of local state")
    p.add_argument("--out", type=Path, default=ROOT / "test-output/sequence")
    return p


if __name__ == "__main__":
    sys.exit(main())
