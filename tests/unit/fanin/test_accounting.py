"""Tokens and money: whole parts that add up."""

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.api.endpoint import Pricing
from fanout.broker.messages import ResultMessage, TokenUsage
from fanout.broker.outcome import Outcome
from fanout.fanin.accounting import PICO, UNTOLD, Charge, charge, money, share_out

PRICES = Pricing(
    input_per_million_tokens="0.15", cached_input_per_million_tokens="0.075", output_per_million_tokens="0.60"
)


def make_result(usage=None, outcome=Outcome.SUCCEEDED, sent=True):
    return ResultMessage(epoch=1, call=1, endpoint="e", worker="w", outcome=outcome, sent=sent, usage=usage)


@given(st.integers(0, 10**15), st.lists(st.integers(0, 10**6), min_size=1, max_size=50))
def test_shares_add_up_and_are_within_one_of_their_due(total, weights):
    parts = share_out(total, weights)
    assert sum(parts) == total
    assert all(part >= 0 for part in parts)
    whole = sum(weights)
    for part, weight in zip(parts, weights, strict=True):
        due = total * weight / whole if whole else total / len(weights)
        assert abs(part - due) <= max(1, due * 1e-9)


@given(st.integers(0, 10**6), st.lists(st.integers(1, 1000), min_size=2, max_size=20))
def test_a_heavier_task_never_pays_less(total, weights):
    parts = share_out(total, weights)
    by_weight = sorted(zip(weights, parts, strict=True))
    for (light, less), (heavy, more) in pairwise(by_weight):
        assert light == heavy or less <= more


def test_nothing_shared_by_weightless_tasks_is_still_shared():
    assert share_out(5, [0, 0]) == [3, 2]
    assert share_out(0, [3, 4]) == [0, 0]


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "0.0000"),
        ("1", "1.0000"),
        ("12.34567", "12.3457"),
        ("0.01", "0.0100"),
        ("0.001234", "0.001234"),
        ("0.0000009", "0.0000009000"),
        ("0.000000000001", "0.000000000001"),
        ("1234567.89", "1234567.8900"),
    ],
)
def test_money_for_people(amount, shown):
    assert money(int(Decimal(amount) * PICO)) == shown


@given(st.integers(0, 10**18))
def test_money_is_a_plain_decimal_close_to_the_amount(pico):
    shown = money(pico)
    assert "E" not in shown
    exact = Decimal(pico) / PICO
    assert abs(Decimal(shown) - exact) <= max(Decimal("0.00005"), exact / 1000)
    assert pico == 0 or Decimal(shown) > 0


def test_a_call_costs_what_the_server_counted():
    usage = TokenUsage(input_tokens=1000, cached_input_tokens=400, output_tokens=100)
    found = charge(make_result(usage), 999, PRICES)
    assert found == Charge(1000, 400, 100, 0, found.cost)
    assert (
        Decimal(found.cost) / PICO == Decimal("0.00018") == (600 * 15 + 400 * Decimal("7.5") + 100 * 60) / 100 / 10**6
    )


def test_cached_tokens_cost_what_others_do_where_no_price_is_told():
    usage = TokenUsage(input_tokens=10, cached_input_tokens=10)
    assert charge(make_result(usage), 0, Pricing(input_per_million_tokens="1")).cost == 10 * PICO // 10**6


def test_a_server_that_counts_more_cached_than_input_costs_no_less_than_nothing():
    usage = TokenUsage(input_tokens=5, cached_input_tokens=50)
    assert charge(make_result(usage), 0, PRICES).cost == 5 * 75_000


def test_without_prices_there_are_tokens_and_no_cost():
    assert charge(make_result(TokenUsage(input_tokens=3, output_tokens=4)), 9, None) == Charge(3, 0, 4, 0, 0)


@pytest.mark.parametrize("outcome", sorted(Outcome))
def test_a_call_that_ended_without_telling_is_estimated_where_a_model_may_have_worked(outcome):
    expected = 77 if outcome in UNTOLD else 0
    assert charge(make_result(None, outcome), 77, PRICES) == Charge(estimated_tokens=expected)
    assert charge(make_result(None, outcome, sent=False), 77, PRICES) == Charge()
