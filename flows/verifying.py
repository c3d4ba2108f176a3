"""Verifying a ledger file with public keys alone: what `tidegate ledger verify` prints."""

from collections.abc import Collection, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from tidegate.flows.chain import Finding, read_chain
from tidegate.flows.reviewing.wording import clean
from tidegate.flows.signing.keys import PublicKey
from tidegate.flows.usage import UsageError
from tidegate.gates.types import Noun


class Verified(Noun):
    """What a ledger file was found to be."""

    path: str
    lines: int
    unsigned: int  # lines from before there were signatures, at the beginning
    signed_by: tuple[str, ...]  # keyids, in order
    head: int | None  # how many lines the head beside it is over
    kept: int  # heads from elsewhere that it was held against
    given: bool  # whether the keys came from outside the home
    findings: tuple[Finding, ...]

    def show(self, console: Console) -> None:
        for finding in self.findings:
            where = f"{self.path}:{finding.line}" if finding.line else self.path
            console.print(f"{escape(where)}: {escape(clean(finding.found))}", highlight=False)
            console.print(f"  {escape(finding.do)}", highlight=False)
        if self.findings:
            console.print(f"{len(self.findings)} findings: this is not what was written")
            return
        console.print(
            f"{escape(self.path)}: {self.lines} lines, all as written", highlight=False
        )
        if self.unsigned:
            console.print(
                f"  the first {self.unsigned} are from before lines were signed; what signed "
                "for them is the head, from then on"
            )
        for keyid in self.signed_by:
            console.print(f"  signed by  {keyid}", highlight=False)
        if not self.given:
            console.print(
                "  by the keys of this home; who can write there and read its private key can "
                "change all of it: give keys and heads that were kept elsewhere"
            )
        if not self.kept:
            console.print(
                "  no head from elsewhere was given: that the ledger and its head were cut off "
                "together is not excluded"
            )


def verify(
    path: Path,
    keys: Sequence[PublicKey],
    kept: Sequence[Path],
    *,
    own: Collection[PublicKey] | None = None,
) -> Verified:
    """Hold a ledger against the head beside it, kept heads and public keys.

    own: of the home that `keys` are of, if nobody outside gave them (chain.py). Raises UsageError if there is no such file.
    """
    beside = path.with_suffix(".head")
    if not path.exists() and not beside.exists():
        raise UsageError(f"{path}: there is no ledger; the first update begins one")
    chain = read_chain(
        path.read_bytes() if path.exists() else b"",
        beside.read_bytes() if beside.exists() else None,
        keys,
        [copy.read_bytes() for copy in kept],
        own=own,
    )
    signers = dict.fromkeys(entry.keyid for entry in chain.entries if entry.keyid)
    return Verified(
        path=str(path),
        lines=len(chain.entries),
        unsigned=chain.unsigned,
        signed_by=tuple(signers),
        head=chain.head.size if chain.head else None,
        kept=len(kept),
        given=own is None,
        findings=chain.findings,
    )
