"""`make bench-sequence`: a sequence of updates on one model, by one method after another.

    python infra/bench_sequence.py --arms lora anchored joint in-context --updates 4 --seeds 3

Without --arms every arm is run, which takes hours on a CPU. After each update all held-out
probes of every update are asked again, with the drift on text and the willingness to decline.
What is finished is kept in the home's cache by the digests of all that decides it: run the same
command again after it was killed, and only what is missing is done. An arm that fails is
named, the others are run, and the command ends with 1.

Writes results.json (every number, item by item), table.md, tradeoff.png and retention.png.
"""

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console

from tidegate.flows import environment
from tidegate.flows.home import Home

ROOT = Path(__file__).parents[1]


def main() -> int:
    a = _parser().parse_args()
    home = Home.find(a.home)
    environment.prepare(home)
    from tidegate.evals.sequence.fiction import FACTS, fiction
    from tidegate.evals.sequence.tofu import tofu
    from tidegate.flows.progress import report, showing
    from tidegate.flows.sequencing.arms import arm_names, find_arms
    from tidegate.flows.sequencing.run import Asked, Series, run_arm
    from tidegate.training.anchors import AnchorError
    from tidegate.training.base import find_base
    from tidegate.training.trained import TrainingError

    settings = {name: value for name in ("epochs", "rows_per_step", "learning_rate")
                if (value := getattr(a, name)) is not None}  # fmt: skip
    arms = find_arms(a.arms or arm_names(), a.recipes, **settings)
    base = find_base(a.base, home.cache)
    failed: dict[str, str] = {}
    results = []
    console = Console(stderr=True)
    with showing(console):
        for seed in range(a.first, a.first + a.seeds):
            if a.tofu:
                lessons = tofu(a.tofu, a.updates, a.groups * FACTS, seed)
            else:
                lessons = fiction(a.updates, a.groups, seed)
            asked = Asked(texts=a.texts, refusals=a.refusals)
            sequence = Series(base, lessons, seed, asked, home)
            for arm in arms:
                try:
                    results.append(run_arm(arm, sequence, report))
                except (TrainingError, AnchorError) as no:
                    failed[f"{arm.name}, seed {seed}"] = str(no)
    a.out.mkdir(parents=True, exist_ok=True)
    (a.out / "results.json").write_text(
        json.dumps([r.model_dump(mode="json") for r in results])
    )
    return 1 if failed else 0


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
    p.add_argument("--home", type=Path, help="folder of local state")
    p.add_argument("--out", type=Path, default=ROOT / "test-output/sequence")
    return p


if __name__ == "__main__":
    sys.exit(main())
