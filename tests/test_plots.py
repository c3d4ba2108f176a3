"""The pictures: real PNGs of the page's width, equal for equal numbers, whatever the names."""

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from tests.update_example import example, stopped_at_the_data
from tidegate.flows.reviewing import plots
from tidegate.flows.reviewing.comparisons import DriftPoint

HOSTILE = "$\\frac{1}{0$ <b>_^ \u202e\x00 漢字 " + "x" * 300


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def test_an_update_has_four_pictures_of_the_pages_width() -> None:
    pictures = example().pictures
    assert set(pictures) == {"changes", "losses", "drift", "data"}
    for png in pictures.values():
        width, height = size(png)
        assert width == 700 and 150 < height < 1500


def test_a_stopped_update_has_only_the_data() -> None:
    assert set(stopped_at_the_data().pictures) == {"data"}


def test_the_same_numbers_are_the_same_bytes() -> None:
    assert example().pictures == example().pictures


def test_no_figure_is_left_open() -> None:
    from matplotlib import pyplot

    assert example().pictures and not pyplot.get_fignums()


@pytest.mark.parametrize(("kept", "masked"), [(0, 0), (1, 1), (3, 0), (2_000_000, 5)])
def test_counts_of_any_size(kept: int, masked: int) -> None:
    for quarantined in ({}, {HOSTILE: 1}, {f"gate {i}": i for i in range(20)}):
        size(plots.data(kept, masked, quarantined))


def test_names_from_outside_are_no_formulas() -> None:
    found = [replace(c, suite=HOSTILE) for c in example().comparisons]
    size(plots.changes(found))
    size(plots.losses({HOSTILE: [(1, 2.0)], "b": []}))
    size(plots.drift([DriftPoint("3", HOSTILE, 0.1, 0.0, 0.2)], {HOSTILE: -0.1}))


def test_pictures_are_saved_by_name(tmp_path: Path) -> None:
    paths = plots.save({"data": example().pictures["data"]}, tmp_path / "plots")
    assert [p.name for p in paths] == ["data.png"]
    size(paths[0].read_bytes())
