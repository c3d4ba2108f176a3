"""`make bench`: every benchmark, each in a process of its own. Speeds as ratios.

A ratio compares with a named alternative in the same run, so that it means something on any
machine; absolute numbers are of this one. Names on the command line choose some of them.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BENCHES = {
    "ingest": [["100000"], ["1000000"]],
    "check": [["100000"]],
    "train": [[]],
    "sft": [[]],
    "evals": [[]],
    "sequential": [[]],
    "privacy": [[]],
}


def main() -> int:
    chosen = sys.argv[1:] or list(BENCHES)
    unknown = set(chosen) - set(BENCHES)
    if unknown:
        print(f"there is no benchmark {min(unknown)!r}; known: {', '.join(BENCHES)}")
        return 3
    failed = 0
    for name in chosen:
        for arguments in BENCHES[name]:
            print(f"\n{name} {' '.join(arguments)}".rstrip(), flush=True)
            command = [sys.executable, str(HERE / f"{name}.py"), *arguments]
            failed += subprocess.run(command, check=False).returncode != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
