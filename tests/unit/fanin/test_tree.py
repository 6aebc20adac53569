"""The shape of a synthesis: every unit in one group, every group once, one root, in whatever order things finish."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.fanin.reduce.tree import Group, Tree, pack_parts


class Build:
    """Makes each group as soon as it is ready, with one node each, and counts what it makes."""

    def __init__(self, fan_in):
        self.tree, self.made, self.root = Tree(fan_in), [], None

    def advance(self):
        while ready := [g for g in self.tree.ready() if g.level == 1 or self.tree.width(1) is not None]:
            for group in ready:
                assert group not in self.made, "made twice"
                if group.level > 1 and self.tree.width(group.level - 1) == 1:
                    assert self.root in (None, group)
                    self.root = group
                    return
                self.made.append(group)
                self.tree.make(group)
                self.tree.settle(group.level + 1, group.position)


@given(st.integers(1, 120), st.integers(2, 9), st.data())
def test_groups_are_ready_once_cover_all_and_reach_one_root(chunks, fan_in, data):
    order = data.draw(st.permutations(range(chunks)))
    planned_after = data.draw(st.integers(0, chunks))
    build, settled = Build(fan_in), set()
    for count, chunk in enumerate(order):
        if count == planned_after:
            build.tree.plan(chunks)
        build.tree.settle(1, chunk)
        settled.add(chunk)
        build.advance()
        for group in build.made:
            if group.level == 1:
                covered = range(group.position * fan_in, min((group.position + 1) * fan_in, chunks))
                assert settled.issuperset(covered), "made before its units were settled"
    build.tree.plan(chunks)
    build.advance()

    widths, units = [], chunks
    while not widths or units > 1:
        units = -(-units // fan_in)
        widths.append(units)
    assert sorted(build.made) == [Group(level, p) for level, width in enumerate(widths, 1) for p in range(width)]
    assert build.root == Group(len(widths) + 1, 0)
    assert build.tree.ready() in ([], [build.root])


def test_a_group_does_not_wait_for_a_straggler_of_another():
    tree = Tree(2)
    for chunk in (0, 2, 3):
        tree.settle(1, chunk)
    assert tree.ready() == [Group(1, 1)]


def test_while_planning_goes_on_only_full_groups_are_complete():
    tree = Tree(3)
    tree.settle(1, 0, 3)
    tree.settle(1, 3, 2)
    assert tree.ready() == [Group(1, 0)]
    assert tree.width(1) is None
    tree.plan(5)
    assert tree.ready() == [Group(1, 0), Group(1, 1)]
    assert [tree.width(level) for level in (0, 1, 2)] == [5, 2, 1]


def test_what_is_made_is_not_ready_again():
    tree = Tree(2)
    tree.settle(1, 0, 2)
    tree.make(Group(1, 0))
    assert tree.ready() == []


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 100))
def test_parts_are_packed_in_order_within_the_budget(tokens, budget):
    packs = pack_parts(tokens, budget)
    assert [i for span in packs for i in span] == list(range(len(tokens)))
    for span in packs:
        assert len(span) == 1 or sum(tokens[i] for i in span) <= budget
    for this, following in pairwise(packs):
        assert sum(tokens[i] for i in this) + tokens[following.start] > budget, "the next one would have fitted"


@pytest.mark.parametrize(
    ("tokens", "budget", "packs"),
    [([], 5, []), ([9], 5, [range(1)]), ([2, 3, 1], 5, [range(2), range(2, 3)]), ([9, 9], 5, [range(1), range(1, 2)])],
)
def test_packs(tokens, budget, packs):
    assert pack_parts(tokens, budget) == packs
