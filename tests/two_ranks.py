"""Run by torchrun: `two_ranks.py FOLDER`. Every rank trains each job of the folder in turn.

In one start, since a start costs more than the trainings. What the ranks are made to agree about
is written by each of them, so that a test sees it for itself.
"""

import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import torch
from safetensors.torch import save_file

from tidegate.training.job import Job
from tidegate.training.ranks import Together
from tidegate.training.train import train
from tidegate.training.trained import RankError


class Noted(Together):
    work: Path

    def agree(self, what: str, tensors: Sequence[torch.Tensor], *said: object) -> None:
        super().agree(what, tensors, *said)
        own = {str(n): one.detach().clone() for n, one in enumerate(tensors)}
        save_file(own, self.work.with_name(f"{self.work.name} {what} {self.rank}"))


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    ranks = Noted(torch.device("cpu"), timedelta(seconds=120), folder / "meeting")
    for path in sorted(folder.glob("*.json")):
        job = Job.model_validate_json(path.read_bytes())
        given = {name: getattr(job, name) for name in Job.model_fields}
        ranks.work = job.work
        train(**given, ranks=ranks)
    try:
        Together.agree(ranks, "their number", [torch.tensor([ranks.rank])])
    except RankError as no:
        (folder / f"differs {ranks.rank}").write_text(str(no))


if __name__ == "__main__":
    main()
