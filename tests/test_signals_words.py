"""The words of a batch, chunk by chunk."""

from dataclasses import astuple

import numpy as np
import pyarrow as pa
import pytest

from tidegate.gates.signals import words

KEY = "0123456789abcdef"


def table(rows: int) -> pa.Table:
    return pa.table(
        {
            "prompt": [f"What of {n} and {n % 3}?" for n in range(rows)],
            "response": [f"It is {n % 7}." for n in range(rows)],
        }
    )


@pytest.mark.parametrize("rows", [1, 4, 5, 8, 11])
def test_chunks_are_put_together_in_their_order(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "AT_ONCE", 2)
    whole, said = table(rows), words.Collected()
    for start in range(0, rows, 2):
        said.add(words.take(whole.slice(start, 2), KEY))
    found, expected = said.taken(), words.take(whole, KEY)
    assert found is not None
    for one, other in (
        (found.prompt, expected.prompt),
        (found.response, expected.response),
    ):
        assert all(map(np.array_equal, astuple(one), astuple(other)))
    assert np.array_equal(found.behaviour, expected.behaviour)
    assert said.taken() is None
