"""Write the lock files from pyproject.toml (`make lock`).

    requirements.lock             everything but torch
    requirements-torch-cpu.lock   the CPU build of torch, which needs nothing more
    requirements-torch.lock       the ordinary build; on Linux with the CUDA libraries (GBs)

The index that pip asks decides which torch there is, so setup tries the second file and
falls back to the third. One file with the hashes of both builds does not work: pip prefers
a candidate whose hash its index names, and so takes the CUDA build from beside a CPU one.

What is locked already stays as it is; `python infra/lock.py --upgrade` takes the newest instead.

Needs `uv` on the PATH; nothing else of the project does.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
CPU_TORCH = (
    "torch==2.13.0+cpu \\\n"
    "    --hash=sha256:6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b\n"
)
TORCH_ONLY = re.compile(r"(torch==|cuda-|nvidia-|triton==)")
NEVER = "sys_platform == 'never'"
HEAD = "# Written by `make lock` from pyproject.toml. Do not edit.\n"


def main() -> None:
    blocks = re.split(r"\n(?=\S)", compiled(upgrade="--upgrade" in sys.argv).strip())
    blocks = [block for block in blocks if NEVER not in block.splitlines()[0]]
    torch = [block for block in blocks if TORCH_ONLY.match(block)]
    rest = [block for block in blocks if not TORCH_ONLY.match(block)]
    (ROOT / "requirements.lock").write_text(HEAD + "\n".join(rest) + "\n")
    (ROOT / "requirements-torch.lock").write_text(HEAD + "\n".join(torch) + "\n")
    (ROOT / "requirements-torch-cpu.lock").write_text(HEAD + CPU_TORCH)
    print(f"locked {len(rest)} packages, and {len(torch)} for the ordinary build of torch")


def compiled(*, upgrade: bool) -> str:
    """One requirements file of everything, as uv writes it."""
    command = ["uv", "pip", "compile", "pyproject.toml", "--group", "dev", "--universal"]
    command += ["--python-version", "3.11", "--generate-hashes", "--no-header", "--quiet"]
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.lock"
        if not upgrade:  # uv prefers the versions that it finds in the file that it writes
            locked = ("requirements.lock", "requirements-torch.lock")
            whole.write_text("\n".join((ROOT / name).read_text() for name in locked))
        command += ["--output-file", str(whole)]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        return whole.read_text()


if __name__ == "__main__":
    main()
