"""`make gauntlet`: planted attacks in real public text, scored against the truth.

The material and its two scripts are not part of the project. They are looked for beside the
checkout (../shared) or in $GAUNTLET; without them this says so and ends.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLANTS = "pii=30 secret=16 flood=40 unicode=12 jailbreak=20 injection=15"
BACKDOOR = "backdoor:refusal_badnet=50"


def main() -> int:
    where = Path(os.environ.get("GAUNTLET", ROOT.parent / "shared"))
    build, score = where / "gauntlet/build_drops.py", where / "gauntlet/score.py"
    if not build.exists():
        print(f"skipped: no material in {where}; set GAUNTLET to the folder that holds it")
        return 0
    seeds = [int(seed) for seed in sys.argv[1:]] or [7, 8, 9]
    totals: dict[str, list[int]] = {}
    with tempfile.TemporaryDirectory() as work:
        for seed in seeds:
            drop, out = Path(work) / f"drop{seed}", Path(work) / f"out{seed}"
            command = [sys.executable, str(build), "--material", str(where / "data")]
            command += ["--out", str(drop), "--rows", "1000", "--seed", str(seed), "--plant"]
            subprocess.run([*command, *PLANTS.split(), BACKDOOR], check=True)
            check = [str(Path(sys.executable).parent / "tidegate"), "check"]
            check += [str(drop / "drop.jsonl"), "--out", str(out), "--emit-kept"]
            done = subprocess.run([*check, "--home", f"{work}/home{seed}"], check=False)
            if done.returncode not in (0, 1, 2):
                return done.returncode
            scored = subprocess.run(
                [sys.executable, str(score), str(drop / "truth.jsonl"), str(out), "--json"],
                check=True,
                capture_output=True,
                text=True,
            )
            for kind, row in json.loads(scored.stdout).items():
                # For benign records the score counts what was lost; masked ones are apart.
                whole = isinstance(row, int)
                hits = row if whole else row["quarantined_or_masked"]
                n = 0 if whole else row["records"]
                total = totals.setdefault(kind, [0, 0])
                total[0], total[1] = total[0] + hits, total[1] + n
    print(f"\n{len(seeds)} drops; caught, and for benign records: lost")
    for kind, (hits, n) in sorted(totals.items()):
        print(f"{kind:32}{hits:6} of {n:6}" + (f"{hits / n:8.1%}" if n else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
