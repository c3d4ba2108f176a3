"""Merkle trees over the lines of a ledger, as RFC 6962, section 2.1, defines them (SHA-256).

Written here: pymerkle, the one kept library, is under the GPL and pins its own dependencies.
Trees are rebuilt from their leaves each time: a ledger has thousands of lines, not millions.

Leaves are bytes, hashes 32 bytes. Proofs are lists of hashes in the order of the RFC, from the
leaf up. Every `verify_` function returns False for anything that is not a proof; none raises.
"""

import hashlib
from collections.abc import Sequence

EMPTY = hashlib.sha256().digest()


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The hash of the whole tree (MTH)."""
    return _root([leaf_hash(leaf) for leaf in leaves])


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """PATH(index, leaves). Raises IndexError if there is no such leaf."""
    if not 0 <= index < len(leaves):
        raise IndexError(f"there is no leaf {index} among {len(leaves)}")
    return _path([leaf_hash(leaf) for leaf in leaves], index)


def consistency_proof(leaves: Sequence[bytes], earlier: int) -> list[bytes]:
    """PROOF(earlier, leaves): that the first `earlier` leaves are still what they were.

    Raises IndexError if there were never so few, or none.
    """
    if not 0 < earlier <= len(leaves):
        raise IndexError(f"there is no earlier tree of {earlier} among {len(leaves)} leaves")
    return _subproof([leaf_hash(leaf) for leaf in leaves], earlier, whole=True)


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected: bytes
) -> bool:
    """Whether `leaf` is number `index` of the `size` leaves under the root `expected`."""
    if not 0 <= index < size:
        return False
    node, last, found = index, size - 1, leaf_hash(leaf)
    for sibling in proof:
        if last == 0:
            return False
        if node % 2 or node == last:
            found = _node(sibling, found)
            while node % 2 == 0 and node:
                node, last = node >> 1, last >> 1
        else:
            found = _node(found, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and found == expected


def verify_consistency(
    earlier: int, later: int, proof: Sequence[bytes], before: bytes, after: bytes
) -> bool:
    """Whether the tree `after`, of `later` leaves, begins with the tree `before`."""
    if not 0 < earlier <= later:
        return False
    if earlier == later:
        return not proof and before == after
    hashes = list(proof)
    if earlier & (earlier - 1) == 0:  # a whole subtree: its hash is the earlier root itself
        hashes.insert(0, before)
    if not hashes:
        return False
    node, last = earlier - 1, later - 1
    while node % 2:
        node, last = node >> 1, last >> 1
    old = new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return False
        if node % 2 or node == last:
            old, new = _node(sibling, old), _node(sibling, new)
            while node % 2 == 0 and node:
                node, last = node >> 1, last >> 1
        else:
            new = _node(new, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and old == before and new == after


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _half(size: int) -> int:
    """The largest power of two that is smaller than `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def _root(hashes: Sequence[bytes]) -> bytes:
    if len(hashes) < 2:
        return hashes[0] if hashes else EMPTY
    half = _half(len(hashes))
    return _node(_root(hashes[:half]), _root(hashes[half:]))


def _path(hashes: Sequence[bytes], index: int) -> list[bytes]:
    if len(hashes) == 1:
        return []
    half = _half(len(hashes))
    if index < half:
        return [*_path(hashes[:half], index), _root(hashes[half:])]
    return [*_path(hashes[half:], index - half), _root(hashes[:half])]


def _subproof(hashes: Sequence[bytes], earlier: int, whole: bool) -> list[bytes]:
    if earlier == len(hashes):
        return [] if whole else [_root(hashes)]
    half = _half(len(hashes))
    if earlier <= half:
        return [*_subproof(hashes[:half], earlier, whole), _root(hashes[half:])]
    return [*_subproof(hashes[half:], earlier - half, False), _root(hashes[:half])]
