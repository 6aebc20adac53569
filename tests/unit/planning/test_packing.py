"""Which tasks share a call."""

from hypothesis import given
from hypothesis import strategies as st

from fanout.planning.packing import Packer


def pack_all(weights, max_items, max_tokens, batches=1):
    """Groups of all tasks, added in so many batches as the planner adds them."""
    packer, groups = Packer(max_items, max_tokens), []
    size = -(-len(weights) // batches) or 1
    for start in range(0, len(weights), size):
        for task in range(start, min(start + size, len(weights))):
            packer.add(task, weights[task])
        groups += packer.full()
    return groups + packer.rest()


@given(
    weights=st.lists(st.integers(1, 500), max_size=60),
    max_items=st.integers(1, 10),
    max_tokens=st.none() | st.integers(1, 1000),
    batches=st.integers(1, 6),
)
def test_every_task_once_within_both_bounds(weights, max_items, max_tokens, batches):
    groups = pack_all(weights, max_items, max_tokens, batches)
    assert sorted(light.task for group in groups for light in group) == list(range(len(weights)))
    for group in groups:
        assert 1 <= len(group) <= max_items
        assert all(light.weight == weights[light.task] for light in group)
        if max_tokens is not None and len(group) > 1:
            assert sum(light.weight for light in group) <= max_tokens


@given(st.lists(st.integers(1, 500), max_size=60), st.integers(1, 10), st.integers(1, 6))
def test_without_a_bound_of_tokens_no_call_is_made_that_could_be_saved(weights, max_items, batches):
    assert len(pack_all(weights, max_items, None, batches)) == -(-len(weights) // max_items)


def test_likes_share_a_call():
    groups = pack_all([5, 100, 6, 90, 7, 95], 3, None)
    assert [[light.weight for light in group] for group in groups] == [[7, 6, 5], [100, 95, 90]], "in the input's order"


def test_single_tasks_keep_the_inputs_order():
    assert [group[0].task for group in pack_all([5, 100, 6, 90], 1, None)] == [0, 1, 2, 3]


def test_equal_weights_keep_the_inputs_order():
    groups = pack_all([3] * 5, 2, None)
    assert [[light.task for light in group] for group in groups] == [[0, 1], [2, 3], [4]]


def test_while_more_may_come_only_full_calls_are_made_and_the_lightest_wait():
    packer = Packer(3, None)
    for task, weight in enumerate([1, 9, 8, 7]):
        packer.add(task, weight)
    assert [[light.weight for light in group] for group in packer.full()] == [[9, 8, 7]]
    assert packer.full() == []
    packer.add(4, 5)
    assert [[light.weight for light in group] for group in packer.rest()] == [[5, 1]]
    assert packer.rest() == []


def test_what_is_too_heavy_for_any_call_goes_alone():
    groups = pack_all([50, 2000, 40], 10, 100)
    assert [[light.weight for light in group] for group in groups] == [[50, 40], [2000]]
