"""Trees as flat arrays: their sums, and the exact Shapley values of the inputs that decide their comparisons.

The game behind a Shapley value is interventional: of a row and a background row, a coalition of inputs has the values
of the row, the other inputs have those of the background row, and the coalition is worth what the trees then sum to.
A leaf is reached under some coalitions only: those with all inputs of a set A and none of a set B. For such a game the
Shapley value has a closed form (`_weights`), so that walking both rows through a tree at once is enough, and nothing is
sampled.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LESS_OR_EQUAL, LESS, GREATER_OR_EQUAL, GREATER, EQUAL, NOT_EQUAL, MEMBER = range(7)
_COMPARE: tuple[Callable[[Floats, Floats], Bools], ...] = (
    np.less_equal,
    np.less,
    np.greater_equal,
    np.greater,
    np.equal,
    np.not_equal,
)
# Bytes of the walks that are advanced together: little enough that other threads get their turn in between.
_WALK_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Trees:
    """One entry for each node in all arrays; a leaf has -1 for children.

    Attributes:
        roots: shape (trees,).
        true, false: the children of a node whose comparison holds, or does not.
        column, mode, split: the comparison: `value <mode> split`, or the value is one of the node's `members`.
        missing_true: whether a missing value goes to `true`.
        values: of a leaf, for each target; shape (nodes, targets).
        offset: added to the sums, shape (targets,).
        known: the values that any set has, ascending; shape (known,).
        sets: whether a node of mode `MEMBER` has each known value, shape (sets, known + 1); the last is any other.
        set_of: which of the sets a node of that mode has.
    """

    roots: Ints
    true: Ints
    false: Ints
    column: Ints
    mode: Ints
    split: Floats
    missing_true: Bools
    values: Floats
    offset: Floats
    known: Floats = field(default_factory=lambda: np.empty(0))
    sets: Bools = field(default_factory=lambda: np.zeros((0, 1), dtype=np.bool_))
    set_of: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def compare(self, values: Floats, nodes: Ints) -> Bools:
        """Whether the comparison of each node holds for the value beside it."""
        modes = self.mode[nodes]
        held = np.zeros(len(nodes), dtype=np.bool_)
        for mode in range(MEMBER + 1):
            at = modes == mode
            if at.all():  # as in most ensembles
                held = self._holds(mode, values, nodes)
                break
            if at.any():
                held[at] = self._holds(mode, values[at], nodes[at])
        return held | (np.isnan(values) & self.missing_true[nodes])

    def _holds(self, mode: int, values: Floats, nodes: Ints) -> Bools:
        return self._is_member(values, nodes) if mode == MEMBER else _COMPARE[mode](values, self.split[nodes])

    def _is_member(self, values: Floats, nodes: Ints) -> Bools:
        place = np.searchsorted(self.known, values)
        is_known = np.append(self.known, np.nan)[place] == values
        return np.asarray(self.sets[self.set_of[nodes], np.where(is_known, place, -1)])

    def decisions(self, rows: Floats) -> Bools:
        """Whether each node's comparison holds, for rows of shape (rows, columns); shape (rows, nodes)."""
        found = np.zeros((len(rows), len(self.true)), dtype=np.bool_)
        inner = np.flatnonzero(self.true >= 0)
        for at, row in enumerate(rows):
            found[at, inner] = self.compare(row[self.column[inner]], inner)
        return found

    def sums(self, decisions: Bools) -> Floats:
        """The sums of the leaves plus the offset, of decisions of shape (rows, nodes); shape (rows, targets)."""
        rows = np.arange(len(decisions))[:, None]
        node = np.tile(self.roots, (len(decisions), 1))
        while (walking := self.true[node] >= 0).any():
            held = decisions[rows, node]
            node = np.where(walking, np.where(held, self.true[node], self.false[node]), node)
        return np.asarray(self.values[node].sum(axis=1) + self.offset)


@dataclass(slots=True)
class _Walk:
    """Walks of a row and of background rows down the trees, one entry for each.

    Attributes:
        node: where it is.
        other: the index of the background row.
        sides: shape (walks, players): 1 where the two rows went apart by this player and the walk follows the row, -1
            where it follows the background row.
    """

    node: Ints
    other: Ints
    sides: NDArray[np.int8]

    def __getitem__(self, at: slice | Bools) -> _Walk:
        return _Walk(self.node[at], self.other[at], self.sides[at])

    def __len__(self) -> int:
        return len(self.node)


def shapley(
    trees: Trees, row: Bools, background: Bools, player: Ints, players: int, check: Callable[[], None]
) -> Floats:
    """The Shapley values of each player for each target, over all background rows; shape (players, targets).

    They add up to the row's sums less the mean of the background rows' sums.

    Args:
        trees: whose sums are explained.
        row: the row's decisions, shape (nodes,).
        background: the background rows' decisions, shape (rows, nodes).
        player: which player decides the comparison of each node; shape (nodes,).
        players: their number.
        check: called now and then; raises to end it.
    """
    found = np.zeros((players, trees.values.shape[1]))
    others = np.arange(len(background))
    plus, minus = _weights(players)
    most = max(64, _WALK_BYTES // players)
    step = max(1, most // len(background))
    for first in range(0, len(trees.roots), step):
        roots = trees.roots[first : first + step]
        waiting = [
            _Walk(
                np.repeat(roots, len(background)),
                np.tile(others, len(roots)),
                np.zeros((len(roots) * len(background), players), dtype=np.int8),
            )
        ]
        while waiting:
            walk = waiting.pop()
            if len(walk) > most:
                waiting += [walk[: len(walk) // 2], walk[len(walk) // 2 :]]
                continue
            check()
            ended = trees.true[walk.node] < 0
            if ended.any():
                sides = walk.sides[ended]
                with_row, with_other = sides > 0, sides < 0
                a, b = with_row.sum(axis=1), with_other.sum(axis=1)
                weights = with_row * plus[a, b][:, None] - with_other * minus[a, b][:, None]
                found += weights.T @ trees.values[walk.node[ended]]
                walk = walk[~ended]
            if len(walk):
                waiting.append(_advance(trees, walk, row, background, player))
    return found / len(background)


def _advance(trees: Trees, walk: _Walk, row: Bools, background: Bools, player: Ints) -> _Walk:
    """One step down; a walk becomes two where the rows go apart by a player that has not been decided yet."""
    node, by = walk.node, player[walk.node]
    side = walk.sides[np.arange(len(walk)), by]
    own, others = row[node], background[walk.other, node]
    apart = (own != others) & (side == 0)
    along = np.where(np.where(side < 0, others, own), trees.true[node], trees.false[node])
    if not apart.any():
        return _Walk(along, walk.other, walk.sides)
    second = walk[apart]
    places = np.flatnonzero(apart)
    walk.sides[places, by[places]] = 1
    second.sides[np.arange(len(second)), by[places]] = -1
    away = np.where(others[places], trees.true[second.node], trees.false[second.node])
    return _Walk(
        np.concatenate([along, away]),
        np.concatenate([walk.other, second.other]),
        np.concatenate([walk.sides, second.sides]),
    )


def _weights(players: int) -> tuple[Floats, Floats]:
    """For a leaf that needs a players to follow the row and b not to: what it gives each a, and takes from each b.

    Of all orders of the a + b players, a player of the a completes the coalition in the share (a-1)! b! / (a+b)!; one
    of the b destroys it in the share a! (b-1)! / (a+b)!.
    """
    plus, minus = np.zeros((players + 1, players + 1)), np.zeros((players + 1, players + 1))
    for a in range(players + 1):
        for b in range(players + 1 - a):
            orders = math.comb(a + b, a)
            plus[a, b] = 1 / (a * orders) if a else 0.0
            minus[a, b] = 1 / (b * orders) if b else 0.0
    return plus, minus
