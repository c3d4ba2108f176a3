"""sound_adapter: what would serve is plain weights of a plausible size, behind the same template.

Sees, in a fresh process: files in the adapter's folder other than safetensors, JSON and a model
card; a chat template that is not the one the candidate was measured with; and how much the
adapter adds to its layers, as a share of their Frobenius norm; of a cartridge, how much larger or
smaller its keys and values are than the base's own, as a share of these.
Cannot see: what weights of a plausible size do. The limit of the norm is a guard against
broken training: an attack needs no large one.
"""

from typing import Annotated

from pydantic import Field

from tidegate.gates.gate import Params, at_most, gate
from tidegate.gates.tighter import LOWER
from tidegate.gates.types import CandidateEvidence, Outcome, Verdict


class Sound(Params):
    max_delta_norm: Annotated[float, LOWER] = Field(
        default=0.5, gt=0, description="of the adapted layers' own Frobenius norm"
    )

    def served(self) -> bool:
        return True


@gate()
def sound_adapter(p: Sound, evidence: CandidateEvidence) -> Verdict:
    """The adapter is plain weights of a plausible size, behind the template that was measured."""
    limits = (
        ("serves.odd_files", 0.0, "files that are neither weights nor JSON:"),
        ("serves.template_changed", 0.0, "chat templates that changed:"),
        ("serves.delta_norm", p.max_delta_norm, "norm of what the adapter adds:"),
    )
    verdicts = [at_most(evidence[name].value, limit, what) for name, limit, what in limits]
    return next((v for v in verdicts if v.outcome is not Outcome.PASS), verdicts[-1])
