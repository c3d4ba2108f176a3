"""The ledger file: signed statements, one a line, appended under a lock and synced to disk.

The ledger is the truth about what was decided; MLflow's tags and aliases are an index for
people. A statement is on disk, and under a signed head, before any alias moves.

    ledger.jsonl   one DSSE envelope a line
    ledger.head    the signed head: how many lines, and their Merkle root
    keys/          the pipeline's keys (flows/signing/pipeline.py)

A line is written first and the head after it, each synced. A process killed in between leaves
a signed line more than the head says; killed while writing, a line without an end. The next
`append` puts the first under a new head, and moves the second aside and records that it did:
it was never acted on, since nobody acts before the head is written. Nothing is ever guessed.
"""

from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock
from securesystemslib.signer import CryptoSigner

from tidegate.flows import durable
from tidegate.flows.chain import Chain, Entry, read_chain
from tidegate.flows.signing import envelope
from tidegate.flows.signing.envelope import IN_TOTO
from tidegate.flows.signing.head import sign_head
from tidegate.flows.signing.keys import public_of
from tidegate.flows.signing.pipeline import PipelineKeys
from tidegate.gates import merkle
from tidegate.gates.audit import NO_PREVIOUS, BrokenLedger, Statement, placed, statement
from tidegate.gates.digest import canonical, digest_bytes

ORIGIN = "tidegate.example/ledger/"
ATTEMPTS = 20


class Ledger:
    """An append-only file of statements, each holding the digest of the one before."""

    def __init__(self, path: Path, keys: PipelineKeys | None = None) -> None:
        """keys: of the home, which are in `keys/` beside the file."""
        self.path = path
        self.head_path = path.with_suffix(".head")
        self.keys = keys or PipelineKeys(path.parent / "keys")

    def read(self) -> list[tuple[str, Statement]]:
        """All statements with their digests, oldest first; raises BrokenLedger."""
        return [(entry.digest, entry.record) for entry in self.entries()]

    def entries(self) -> tuple[Entry, ...]:
        """All lines, oldest first, with whose signature each has; raises BrokenLedger."""
        return self._checked().entries

    def find(self, digest: str) -> Statement | None:
        entry = self.entry(digest)
        return None if entry is None else entry.record

    def entry(self, digest: str) -> Entry | None:
        return next((entry for entry in self.entries() if entry.digest == digest), None)

    def headed(self) -> tuple[bytes, list[bytes]]:
        """The bytes of the signed head, and the lines that it is over; raises BrokenLedger."""
        chain = self._checked()
        if chain.head is None:
            raise BrokenLedger(
                f"{self.head_path}: no head yet; the next act in the home signs one"
            )
        size, head = chain.head.size, _read(self.head_path)
        if head is None:
            raise BrokenLedger(f"{self.head_path}: is gone")
        return head, chain.leaves[:size]

    def origin(self) -> str:
        """The ledger's name in its heads; raises BrokenLedger if it has none yet."""
        return self.headed()[0].decode().split("\n", 1)[0]

    def model_lines(self) -> set[str]:
        """The model lines that were ever recorded."""
        named = (entry.record["predicate"]["model"] for entry in self.entries())
        return {name for name in named if name}

    def append(self, record: Statement) -> str:
        """Write a statement, signed, and return its digest once it is safe on disk.

        It gets its place in the ledger here. Written once: if the ledger already holds a
        statement with the same decision id, its digest is returned and nothing is added.
        Raises BrokenLedger if the ledger is not what was written, and KeyFileError if the
        pipeline's key is gone.
        """
        with self._lock():
            chain = self._recovered()
            for entry in chain.entries:
                if _decision_id(entry.record) == _decision_id(record):
                    return entry.digest
            return self._add(record, self.keys.signer())

    def settle(self) -> None:
        """Put a line under a signed head that a killed process wrote, before anybody acts on it.

        Changes nothing where all lines are. Raises BrokenLedger, as `append` does.
        """
        chain = self._checked()
        if chain.head is not None and chain.head.size < len(chain.entries):
            with self._lock():
                self._recovered()

    def rotate(self, *, lost: bool = False) -> str:
        """Record that another key signs from now on; returns the statement's digest.

        Signed by the old key and the new one, so that who knows the old one can follow. lost:
        by the new key alone, because the old one is gone; then strangers have to be told.
        Run again after a crash: it finishes what was begun.
        """
        with self._lock():
            finished = self._finished_rotation(self._checked())
            if finished is not None:
                return finished
            chain = self._recovered(lost=lost)
            new = self.keys.next_signer()
            retired = [key.keyid for key in chain.keys if key != public_of(new)]
            record = statement(
                act="rotate",
                model="",
                subjects={"key": f"sha256:{public_of(new).keyid}"},
                about={
                    "decision_id": f"rotate {public_of(new).keyid}",
                    "action": "rotate",
                    "key": public_of(new).key,
                    "retired": retired,
                    "lost": lost,
                },
                decided_at=datetime.now(UTC),
            )
            self.keys.announce_next()
            signers = [new] if lost else [self.keys.signer(), new]
            written = self._add(record, *signers, head_by=new)
            self.keys.take_next()
            return written

    # How

    def _lock(self) -> FileLock:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self.path.with_suffix(".lock"))

    def _checked(self) -> Chain:
        """The ledger as it is; a line in the middle of being written is not there yet."""
        content, head = self._bytes()
        chain = self._chain(content, head)
        if chain.findings:
            first = chain.findings[0]
            where = f":{first.line}" if first.line else ""
            raise BrokenLedger(f"{self.path}{where}: {first.found}; {first.do}")
        if head is None and self.keys.published.exists():
            raise BrokenLedger(
                f"{self.head_path}: the signed head is gone, and the ledger may have been cut "
                "off; restore it from a copy"
            )
        return chain

    def _chain(self, content: bytes, head: bytes | None) -> Chain:
        keys = self.keys
        return read_chain(content, head, keys.trusted(), own=keys.own(), behind=1)

    def _bytes(self) -> tuple[bytes, bytes | None]:
        """The ledger and the head that belongs to it, while others may be writing."""
        for _ in range(ATTEMPTS):
            before = _read(self.head_path)
            content = _read(self.path)
            if before == _read(self.head_path):
                return content or b"", before
        raise BrokenLedger(f"{self.head_path}: is written without a pause; try again")

    def _recovered(self, *, lost: bool = False) -> Chain:
        """The ledger, with what a killed process left behind put right. Under the lock."""
        chain = self._checked()
        self._finished_rotation(chain)
        if lost:
            self.keys.announce_next()
        signer = self.keys.next_signer() if lost else self.keys.signer_made()
        if chain.head is None:
            # Signs for all older, unsigned lines; over none if this is the first act.
            self._write_head(chain.leaves, signer, _origin(signer))
        elif chain.head.size < len(chain.entries):
            self._write_head(chain.leaves, signer, chain.head.origin)
        self.keys.publish()
        if chain.torn:
            self._set_aside(chain, signer)
        return self._checked()

    def _finished_rotation(self, chain: Chain) -> str | None:
        """Take the key that the ledger already rotated to, if a process was killed there."""
        if not self.keys.next.exists():
            return None
        wanted = f"rotate {public_of(self.keys.next_signer()).keyid}"
        done = [e.digest for e in chain.entries if _decision_id(e.record) == wanted]
        if not done:
            return None
        self.keys.take_next()
        return done[0]

    def _set_aside(self, chain: Chain, signer: CryptoSigner) -> None:
        digest = digest_bytes(chain.torn)
        aside = self.path.with_suffix(f".torn-{digest[7:19]}")
        durable.replace(aside, chain.torn)
        with self.path.open("r+b") as lines:
            lines.truncate(sum(len(leaf) + 1 for leaf in chain.leaves))
        record = statement(
            act="recover",
            model="",
            subjects={"torn": digest},
            about={
                "decision_id": f"recover {digest} at {len(chain.entries)}",
                "action": "recover",
                "bytes": len(chain.torn),
                "file": aside.name,
                "reason": "a line was cut off in writing; it was never acted on",
            },
            decided_at=datetime.now(UTC),
        )
        self._add(record, signer)

    def _add(
        self, record: Statement, *signers: CryptoSigner, head_by: CryptoSigner | None = None
    ) -> str:
        # Imported here: protobuf, which reading does not need.
        from tidegate.flows.signing.in_toto import validate

        chain = self._checked()
        assert chain.head is not None  # _recovered wrote one
        previous = chain.entries[-1].digest if chain.entries else NO_PREVIOUS
        full = placed(record, len(chain.entries), previous)
        validate(full)
        payload = canonical(full)
        line = envelope.seal(payload, IN_TOTO, *signers)
        content, head = self._bytes()
        wrong = self._chain(content + line, head).findings
        if wrong:  # as by a key that was retired: never write what could not be read
            raise BrokenLedger(f"{self.path}: not written: {wrong[0].found}; {wrong[0].do}")
        durable.append(self.path, line)
        leaves = [*chain.leaves, line.rstrip(b"\n")]
        self._write_head(leaves, head_by or signers[0], chain.head.origin)
        return digest_bytes(payload)

    def _write_head(self, leaves: list[bytes], signer: CryptoSigner, origin: str) -> None:
        root = merkle.root(leaves)
        durable.replace(self.head_path, sign_head(origin, len(leaves), root, signer))


def _origin(signer: CryptoSigner) -> str:
    """The name of a ledger: its first key's. Later heads keep it."""
    return ORIGIN + public_of(signer).keyid[:16]


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _decision_id(record: Statement) -> str:
    return str(record["predicate"]["about"]["decision_id"])
