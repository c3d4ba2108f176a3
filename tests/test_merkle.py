"""RFC 6962 trees against the test vectors of the Certificate Transparency project."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.gates import merkle

LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
N12 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
N48 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
L1 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
L4 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
N45 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
N67 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
PATHS = {
    (0, 8): [L1, N12, N48],
    (5, 8): [L4, N67, ROOTS[4]],
    (2, 3): [ROOTS[2]],
    (1, 5): [ROOTS[1], N12, L4],
}
CONSISTENT = {
    (1, 1): [],
    (1, 8): [L1, N12, N48],
    (6, 8): [N45, N67, ROOTS[4]],
    (2, 5): [N12, L4],
}


def hexed(hashes: list[bytes]) -> list[str]:
    return [one.hex() for one in hashes]


@pytest.mark.parametrize("size", range(9))
def test_roots(size: int) -> None:
    assert merkle.root(LEAVES[:size]).hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size"), PATHS)
def test_inclusion_paths(index: int, size: int) -> None:
    assert hexed(merkle.inclusion_proof(LEAVES[:size], index)) == PATHS[index, size]


@pytest.mark.parametrize(("earlier", "size"), CONSISTENT)
def test_consistency_proofs(earlier: int, size: int) -> None:
    assert hexed(merkle.consistency_proof(LEAVES[:size], earlier)) == CONSISTENT[earlier, size]


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=40), st.data())
def test_every_leaf_is_included_and_no_other_place_or_root(
    leaves: list[bytes], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof, root = merkle.inclusion_proof(leaves, index), merkle.root(leaves)
    assert merkle.verify_inclusion(leaves[index], index, len(leaves), proof, root)
    assert not merkle.verify_inclusion(leaves[index] + b"x", index, len(leaves), proof, root)
    assert not merkle.verify_inclusion(leaves[index], index, len(leaves), [*proof, root], root)
    assert not merkle.verify_inclusion(leaves[index], -1, len(leaves), proof, root)
    if proof:
        assert not merkle.verify_inclusion(leaves[index], index, len(leaves), proof[1:], root)


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=40), st.data())
def test_every_earlier_tree_is_the_beginning_and_no_other(
    leaves: list[bytes], data: st.DataObject
) -> None:
    earlier = data.draw(st.integers(1, len(leaves)))
    proof = merkle.consistency_proof(leaves, earlier)
    before, after = merkle.root(leaves[:earlier]), merkle.root(leaves)
    assert merkle.verify_consistency(earlier, len(leaves), proof, before, after)
    other = merkle.root([*leaves[: earlier - 1], leaves[earlier - 1] + b"x"])
    assert not merkle.verify_consistency(earlier, len(leaves), proof, other, after)
    assert not merkle.verify_consistency(earlier, len(leaves), proof, before, other)
    assert not merkle.verify_consistency(earlier, len(leaves), [*proof, before], before, after)
    assert not merkle.verify_consistency(0, len(leaves), [], before, after)


@pytest.mark.parametrize("index", [-1, 8])
def test_a_leaf_that_is_not_there_has_no_proof(index: int) -> None:
    with pytest.raises(IndexError):
        merkle.inclusion_proof(LEAVES, index)
    with pytest.raises(IndexError):
        merkle.consistency_proof(LEAVES, index + 1 if index > 0 else index)
