"""Sort more rows than fit in memory by id, and find the ids that come twice.

Rows are collected into runs of bounded size; each run is sorted, freed of duplicates and
written to disk; at the end all runs are merged. An external merge sort (Knuth, The Art of
Computer Programming, volume 3, 5.4), a table at a time instead of a row at a time.
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

PIECES = 32  # a run is read back in pieces, one of each run being in memory


class OtherContent(Exception):
    """Two rows have one id and differ. Says where they are: (file number, line) each."""

    def __init__(self, first: tuple[int, int], second: tuple[int, int]) -> None:
        super().__init__(first, second)
        self.first, self.second = first, second


class SortedRuns:
    """Tables with columns `id`, `digest`, `file` and `line`, in; the same by id, out."""

    def __init__(self, folder: Path) -> None:
        """`folder`: empty, for the runs; about as large as all rows, compressed."""
        self._folder = folder
        self._runs: list[Path] = []
        self.duplicates = 0

    def add(self, table: pa.Table) -> None:
        """Sort a table and put it by as a run. Raises OtherContent."""
        run = self._distinct(table)
        path = self._folder / f"{len(self._runs)}.arrow"
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with (
            pa.OSFile(str(path), "wb") as file,
            pa.ipc.new_file(file, run.schema, options=options) as writer,
        ):
            writer.write_table(run, max_chunksize=max(1, run.num_rows // PIECES))
        self._runs.append(path)

    def merged(self) -> Iterator[pa.Table]:
        """All rows by id, each id once. Raises OtherContent."""
        rest = [_pieces(path) for path in self._runs]
        heads = [
            (piece, pieces) for pieces in rest if (piece := next(pieces, None)) is not None
        ]
        while heads:
            # Up to the smallest of the heads' last ids, no run holds a row still unread.
            bound = min(piece["id"][-1].as_py() for piece, _ in heads)
            ready, later = [], []
            for piece, pieces in heads:
                count = pc.sum(pc.less_equal(piece["id"], bound)).as_py()
                ready.append(piece.slice(0, count))
                left = piece.slice(count) if count < piece.num_rows else next(pieces, None)
                if left is not None:
                    later.append((left, pieces))
            heads = later
            yield self._distinct(pa.concat_tables(ready))

    def _distinct(self, table: pa.Table) -> pa.Table:
        table = table.sort_by("id").combine_chunks()
        ids, digests = table["id"], table["digest"]
        again = pc.equal(ids.slice(1), ids.slice(0, max(0, len(ids) - 1)))
        count = pc.sum(again).as_py() or 0
        if not count:
            return table
        differ = pc.not_equal(digests.slice(1), digests.slice(0, len(ids) - 1))
        conflict = pc.index(pc.and_(again, differ), True).as_py()
        if conflict >= 0:
            pair = table.slice(conflict, 2).select(["file", "line"]).to_pylist()
            first, second = sorted((row["file"], row["line"]) for row in pair)
            raise OtherContent(first, second)
        self.duplicates += count
        first_of_all = pa.chunked_array([pa.array([False]), *again.chunks])
        return table.filter(pc.invert(first_of_all))


def _pieces(path: Path) -> Iterator[pa.Table]:
    with pa.OSFile(str(path), "rb") as file, pa.ipc.open_file(file) as reader:
        for i in range(reader.num_record_batches):
            piece = pa.Table.from_batches([reader.get_batch(i)])
            if piece.num_rows:
                yield piece
