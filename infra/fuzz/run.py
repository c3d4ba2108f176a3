"""`make fuzz`: rows and texts that nobody thought of, made by a coverage-guided fuzzer.

    python infra/fuzz/run.py --seconds 60

Runs each target of infra/fuzz/targets.py for that long in a process of its own, guided by
which lines it reaches (Atheris, https://github.com/google/atheris). A crash, a broken promise
or a row that takes longer than a few seconds ends with exit code 1, and its input is kept in
test-output/fuzz, which the same target takes as its only argument to fail again. What it
found once is a seed from then on. Skips, and says so, where Atheris is not installed.
"""

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
OUT = ROOT / "test-output" / "fuzz"
TARGETS = ("rows", "texts")
SLOWEST = 20  # seconds for one input: far above what a busy machine needs
MOST_MEMORY = 3000  # MB, of which the detectors' rules alone take hundreds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--target", choices=TARGETS, help="only this one")
    given = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print("skipped: atheris is not installed; run: .venv/bin/pip install atheris")
        return 0
    failed = []
    for target in [given.target] if given.target else TARGETS:
        corpus = OUT / target
        corpus.mkdir(parents=True, exist_ok=True)
        print(f"{target}: {given.seconds} s", flush=True)
        command = [
            sys.executable,
            str(Path(__file__).with_name("targets.py")),
            target,
            str(corpus),
            f"-max_total_time={given.seconds}",
            f"-timeout={SLOWEST}",
            f"-rss_limit_mb={MOST_MEMORY}",
            f"-artifact_prefix={OUT}/{target}-",
            "-max_len=65536",
            "-print_final_stats=1",
        ]
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            failed.append(target)
    if failed:
        print(f"{', '.join(failed)}: failed; the inputs are in {OUT}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
