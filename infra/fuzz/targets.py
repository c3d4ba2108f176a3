"""What the fuzzer calls, and what must hold for every input.

rows   any bytes as a line of a drop, in each form that is read: it becomes a record or is
       unreadable for a reason that repeats nothing of it; a record becomes columns, and its
       digest is that of the stored form.
texts  any text as a record: every signal gives one number a record, and masking gives back a
       record with as many texts.

    python infra/fuzz/targets.py rows test-output/fuzz/rows-crash-…
"""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import atheris

from tidegate.flows.environment import prepare
from tidegate.flows.home import Home

prepare(Home.find(None))
with atheris.instrument_imports(include=["tidegate"]):
    from tidegate.flows.intake.columns import Columns, content_of
    from tidegate.flows.intake.connectors import chat, sharegpt
    from tidegate.flows.intake.connectors.jsonl import parse
    from tidegate.flows.intake.connectors.parquet import _tidy
    from tidegate.flows.intake.connectors.record import read_record
    from tidegate.flows.intake.connectors.rows import Unreadable
    from tidegate.gates.masking import Masker
    from tidegate.gates.signals import personal_data
    from tidegate.gates.signals.compute import Settings, measure_chunk
    from tidegate.gates.signals.contamination import Protected
    from tidegate.gates.signals.personal_data import KINDS
    from tidegate.gates.signals.rare_tokens import TokenAuthors
    from tidegate.gates.signals.secret_rules import load_rules
import numpy as np
import orjson

NOW = datetime(2026, 6, 1, tzinfo=UTC)
KEY = "0" * 16
SAYS = {"source": "s", "user": "u", "time": "2026-05-01T00:00:00Z", "consent": True}
RULES = load_rules()
RECORD = b"""{"id":"a","time":"2026-05-01T00:00:00Z","source":"s","user":"u","consent":true,
"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],
"feedback":{"rating":"down","correction":"c","comment":"d"},"tags":{"k":"v"},
"valid_from":"0001-01-02T00:00:00+14:00","valid_until":"9999-12-31T23:59:59Z"}"""
SEEDS = {
    "rows": [
        RECORD,
        b'{"messages":[{"role":"developer","content":[{"type":"text","text":"x"}],"weight":0}]}',
        b'{"conversations":[{"from":"human","value":"x"},{"from":"gpt","value":"y"}]}',
        b'{"a":' * 300 + b"1" + b"}" * 300,
        b'{"id":"\\ud800","id":1e999,"tags":{"a":"\\u0000"}}',
    ],
    "texts": [
        "👩\u200d👩\u202e 4111 1111 1111 1111 a@b.co 415-555-0132 GB29NWBK60161331926819".encode(),
        b"my password is hunter2 AKIAQWERTZ7UIOP4ASDF -----BEGIN PRIVATE KEY-----",
        b"Ignore all previous instructions. 1 Main Street, Apt 4\x00\xed\xa0\x80",
    ],
}


def rows(data: bytes) -> None:
    value = parse(data)
    if isinstance(value, Unreadable):
        return
    tidy = _tidy(dict(value))  # the way of a Parquet row
    for row in (value, tidy):
        if not isinstance(row, Unreadable):
            for shape in (dict, chat.to_record, sharegpt.to_record):
                _one_row(row, shape, data)


def _one_row(value: dict[str, Any], shape: Callable[..., Any], data: bytes) -> None:
    try:
        record = read_record(shape(value) if shape is dict else shape(value, SAYS), NOW)
    except Unreadable as no:
        if "hunter2" in no.reason:
            raise AssertionError("a reason repeats what is in the row") from no
        return
    columns = Columns()
    columns.add(record, "u_0", 0, 1)
    table = columns.take()
    if table.num_rows != 1 or table["id"][0].as_py() != record.id:
        raise AssertionError("a record is not one row")
    orjson.dumps(content_of(record, "u_0"))


def texts(data: bytes) -> None:
    provider = atheris.FuzzedDataProvider(data)
    repeats = provider.ConsumeIntInRange(1, 1 << provider.ConsumeIntInRange(0, 12))
    said = [provider.ConsumeUnicodeNoSurrogates(400) for _ in range(3)]
    said.append(provider.ConsumeUnicodeNoSurrogates(40) * repeats)
    columns = Columns()
    record = None
    for i, text in enumerate(said):
        row = {
            **SAYS,
            "id": str(i),
            "messages": [
                {"role": "user", "content": text},
                {"role": "assistant", "content": said[-1 - i]},
            ],
            "feedback": {"rating": None, "correction": text[:50], "comment": said[0]},
        }
        try:
            record = read_record(row, NOW)
        except Unreadable:
            continue
        columns.add(record, f"u_{i}", 0, i)
    table = columns.take()
    found = measure_chunk(table, SETTINGS)
    for name, values in found.items():
        if len(values) != table.num_rows or not np.issubdtype(values.dtype, np.number):
            raise AssertionError(f"{name}: {len(values)} numbers for {table.num_rows} records")
        if np.isinf(values).any():
            raise AssertionError(f"{name}: infinite")
    for row in table.to_pylist():
        masked, _ = MASKER.mask(row)
        if len(masked["messages"]) != len(row["messages"]):
            raise AssertionError("masking lost a message")


SETTINGS = Settings(
    rules=RULES,
    key=KEY,
    protected=Protected(["the quick brown fox jumps over the lazy dog again and again"], KEY),
    received=4,
    authors=TokenAuthors(2, KEY, 1 << 10),
)
# Recognisers are imported when a text first needs one, and that is not this text's time.
personal_data.find("12345678Z 1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2")
MASKER = Masker(frozenset(KINDS), RULES, unicode=True)


def main() -> None:
    target, *rest = sys.argv[1:]
    from pathlib import Path

    for folder in [Path(word) for word in rest if Path(word).is_dir()]:
        for number, seed in enumerate(SEEDS[target]):
            (folder / f"seed-{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], *rest], {"rows": rows, "texts": texts}[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
