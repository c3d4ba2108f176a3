"""The quarantine: encrypted, whole or not at all, and whatever was changed is an error."""

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.ingesting import record
from tidegate.flows.checking import quarantine, quarantine_keys
from tidegate.flows.checking.quarantine import GIVEN
from tidegate.flows.checking.quarantine_keys import BrokenQuarantine
from tidegate.flows.home import Home
from tidegate.flows.intake.columns import Columns
from tidegate.flows.intake.connectors.record import read_record
from tidegate.flows.intake.connectors.rows import IngestError

NOW = datetime(2026, 6, 1, tzinfo=UTC)
A, B = (f"sha256:{digit * 64}" for digit in "ab")
TEXT = "quokkas read hunter2"


class Killed(BaseException):
    """A process that ends here and now."""


def given(*numbers: int, text: str = TEXT) -> pa.Table:
    columns = Columns()
    for n in numbers:
        said = [
            {"role": "user", "content": f"{text} {n}"},
            {"role": "assistant", "content": "a"},
        ]
        columns.add(read_record(record(n, messages=said), NOW), "u_1", 0, n)
    table = columns.take()
    for field in GIVEN:
        if field.name not in table.column_names:
            value: Any = A if field.name == "policy" else ["no_secrets"]
            table = table.append_column(field, pa.array([value] * len(table), field.type))
    return table.select(GIVEN.names)


def put(home: Home, batch: str, *numbers: int, now: datetime = NOW, text: str = TEXT) -> Path:
    table = given(*numbers, text=text)
    return quarantine.store(home, batch, [table], table["id"].to_pylist(), now)


def ids(home: Home, batch: str) -> list[str]:
    return sorted(n for t in quarantine.read(home, batch) for n in t["id"].to_pylist())


def holds(folder: Path, text: bytes) -> list[Path]:
    """Files with these bytes, as they are or within Parquet that opens without a key."""
    found = []
    for path in folder.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        if data.startswith(b"PAR1"):
            data += str(pq.read_table(path).to_pylist()).encode()
        if text in data:
            found.append(path)
    return found


def test_what_was_stored_is_read_and_nobody_else_can(tmp_path: Path) -> None:
    home = Home(tmp_path)
    path = put(home, A, 1, 2)
    assert ids(home, A) == ["r1", "r2"] and ids(home, B) == []
    assert quarantine.batches(home) == [A]
    assert path.read_bytes()[:4] == b"PARE" and not holds(tmp_path, b"hunter2")
    for private in (path, home.keys / "quarantine.key", quarantine_keys.place(home, A)):
        assert (
            private.stat().st_mode & 0o077 == 0 and private.parent.stat().st_mode & 0o077 == 0
        )


def test_again_replaces_and_keeps_the_rest_and_the_first_time(tmp_path: Path) -> None:
    home = Home(tmp_path)
    put(home, A, 1, 2)
    put(home, A, 2, 3, now=NOW + timedelta(days=3), text="other")
    rows = {r["id"]: r for t in quarantine.read(home, A) for r in t.to_pylist()}
    assert {name: (row["since"] - NOW).days for name, row in rows.items()} == {
        "r1": 0, "r2": 0, "r3": 3,
    }  # fmt: skip
    assert rows["r2"]["messages"][0]["content"] == "other 2"
    assert len(list(quarantine_keys.place(home, A).parent.iterdir())) == 1


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def edited(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


TAMPERINGS: dict[str, Callable[[Home, Path, Path], object]] = {
    "edited": lambda h, a, b: edited(a),
    "cut off": lambda h, a, b: cut(a),
    "emptied": lambda h, a, b: a.write_bytes(b""),
    "another batch's": lambda h, a, b: shutil.copy(b, a),
    "another batch's, with its key": lambda h, a, b: (
        shutil.copy(b, a),
        shutil.copy(quarantine_keys.place(h, B), quarantine_keys.place(h, A)),
    ),
    "plain": lambda h, a, b: pq.write_table(given(1), a),
    "gone": lambda h, a, b: a.unlink(),
    "key gone": lambda h, a, b: quarantine_keys.place(h, A).unlink(),
    "key edited": lambda h, a, b: edited(quarantine_keys.place(h, A)),
    "key of keys gone": lambda h, a, b: (h.keys / "quarantine.key").unlink(),
    "another key of keys": lambda h, a, b: (h.keys / "quarantine.key").write_bytes(b"k" * 32),
}


@pytest.mark.parametrize("tamper", TAMPERINGS.values(), ids=TAMPERINGS.keys())
def test_tampering_is_an_error_and_never_fewer_rows(
    tmp_path: Path, tamper: Callable[[Home, Path, Path], object]
) -> None:
    home = Home(tmp_path)
    a, b = put(home, A, 1, 2), put(home, B, 3)
    tamper(home, a, b)
    for act in (lambda: ids(home, A), lambda: put(home, A, 9)):
        with pytest.raises(BrokenQuarantine) as no:
            act()
        assert str(tmp_path) in str(no.value) and "hunter2" not in str(no.value)
    quarantine.shred(home, A)  # what is lost can be given up
    assert ids(home, A) == []


def test_an_older_file_of_the_same_batch_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path)
    path = put(home, A, 1)
    older = path.read_bytes()
    put(home, A, 2)
    path.write_bytes(older)
    with pytest.raises(BrokenQuarantine):
        ids(home, A)


def test_no_byte_of_the_file_can_be_changed_unseen(tmp_path: Path) -> None:
    home = Home(tmp_path)
    path = put(home, A, 1, 2, 3)
    whole = path.read_bytes()
    expected = [t.to_pylist() for t in quarantine.read(home, A)]
    for place in range(0, len(whole), max(1, len(whole) // 400)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            assert [t.to_pylist() for t in quarantine.read(home, A)] == expected, place
        except BrokenQuarantine:
            continue


def test_others_may_not_read_the_key(tmp_path: Path) -> None:
    home = Home(tmp_path)
    put(home, A, 1)
    (home.keys / "quarantine.key").chmod(0o644)
    with pytest.raises(IngestError, match="chmod 600"):
        ids(home, A)


def test_a_plain_store_is_read_once_and_encrypted(tmp_path: Path) -> None:
    home = Home(tmp_path)
    path = quarantine.place(home, A)
    path.parent.mkdir(mode=0o700)
    pq.write_table(given(1, 2), path)
    path.with_suffix(".draft").write_bytes(TEXT.encode())  # of a process killed back then
    os.utime(path, (0, NOW.timestamp()))
    assert ids(home, A) == ["r1", "r2"]
    assert not holds(tmp_path, b"hunter2") and sorted(
        row["since"] for t in quarantine.read(home, A) for row in t.to_pylist()
    ) == [NOW, NOW]


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Kill at the n-th step: a rename, unlink, file synced to disk, or what the test adds."""
    with monkeypatch.context() as patch:

        def at(step: int, *also: tuple[Any, str]) -> None:
            patch.undo()
            left = [step]

            def counted(real: Callable[..., Any]) -> Callable[..., Any]:
                def act(*given: Any, **more: Any) -> Any:
                    left[0] -= 1
                    if left[0] == 0:
                        raise Killed
                    return real(*given, **more)

                return act

            if step:
                files = ((Path, "replace"), (Path, "unlink"), (os, "fsync"))
                for owner, name in (*files, *also):
                    patch.setattr(owner, name, counted(getattr(owner, name)))

        yield at


@pytest.mark.parametrize("before", [(), (1, 2)], ids=["first", "again"])
def test_killed_at_any_step_storing_is_finished_by_storing_again(
    tmp_path: Path, killed_at: Callable[[int], None], before: tuple[int, ...]
) -> None:
    survived = False
    for step in range(1, 40):
        home = Home(tmp_path / str(step))
        if before:
            put(home, A, *before)
        killed_at(step)
        try:
            put(home, A, 2, 3)
            survived = True
        except Killed:
            pass
        killed_at(0)
        seen = ids(home, A)
        assert seen in (
            [f"r{n}" for n in before],
            sorted({"r2", "r3", *(f"r{n}" for n in before)}),
        )
        put(home, A, 2, 3)
        assert ids(home, A) == sorted({"r2", "r3", *(f"r{n}" for n in before)})
        assert sorted(p.suffix for p in quarantine.place(home, A).parent.iterdir()) in (
            [".parquet"], ["", ".parquet"],
        )  # fmt: skip
        if survived:
            break
    assert survived and step > 4


@pytest.mark.parametrize("gone", [["r1"], ["r1", "r2"]], ids=["some", "all"])
def test_killed_at_any_step_removing_is_finished_by_removing_again(
    tmp_path: Path, killed_at: Callable[[int], None], gone: list[str]
) -> None:
    survived = False
    for step in range(1, 40):
        home = Home(tmp_path / str(step))
        put(home, A, 1, 2)
        killed_at(step)
        try:
            quarantine.remove(home, A, gone)
            survived = True
        except Killed:
            pass
        killed_at(0)
        assert ids(home, A) in (["r1", "r2"], [n for n in ("r1", "r2") if n not in gone])
        quarantine.remove(home, A, gone)
        assert ids(home, A) == [n for n in ("r1", "r2") if n not in gone]
        if survived:
            break
    assert survived
