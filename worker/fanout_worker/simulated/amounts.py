"""Numbers within the bounds of a JSON Schema."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from fanout_worker.simulated.dice import Dice

_SPAN = 100


def integer(schema: dict[str, Any], dice: Dice) -> int:
    """An integer within the schema's bounds; where they leave none, one close to them."""
    low, high = _bounds(schema)
    lowest = None if low is None else _above(low)
    highest = None if high is None else _below(high)
    step = schema.get("multipleOf", 1)
    # A multiple of 0.5 or 2.5 that is whole: the numerator of the step as a fraction in lowest terms.
    step = Fraction(str(step)).numerator or 1
    return _multiple(lowest, highest, Fraction(step), dice).numerator


def number(schema: dict[str, Any], dice: Dice) -> float:
    """A number within the schema's bounds: whole or with few digits where they allow it."""
    low, high = _bounds(schema)
    if (step := schema.get("multipleOf")) is not None:
        return _float_multiple(low, high, step, dice)
    least, most = _span(low and low[0], high and high[0])
    value = least + (most - least) * Fraction(1 + dice.below(998), 1000)
    for digits in (2, 6):
        short = round(value, digits)
        if least < short < most:
            return float(short)
    return float(value)


_Bound = tuple[Fraction, bool] | None
"""A limit, and whether it is itself excluded."""


def _bounds(schema: dict[str, Any]) -> tuple[_Bound, _Bound]:
    low = max(_given(schema, "minimum", "exclusiveMinimum"), default=None)
    high = min(_given(schema, "maximum", "exclusiveMaximum"), default=None, key=lambda bound: (bound[0], not bound[1]))
    return low, high


def _given(schema: dict[str, Any], inclusive: str, exclusive: str) -> list[tuple[Fraction, bool]]:
    found = []
    for name, excluded in ((inclusive, False), (exclusive, True)):
        value = schema.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            found.append((Fraction(str(value)), excluded))
    return found


def _above(bound: tuple[Fraction, bool]) -> int:
    value, excluded = bound
    return math.floor(value) + 1 if excluded else math.ceil(value)


def _below(bound: tuple[Fraction, bool]) -> int:
    value, excluded = bound
    return math.ceil(value) - 1 if excluded else math.floor(value)


def _span(low: Fraction | None, high: Fraction | None) -> tuple[Fraction, Fraction]:
    if low is None:
        low = Fraction(0) if high is None or high > 0 else high - _SPAN
    return low, low + _SPAN if high is None else high


def _multiple(low: int | Fraction | None, high: int | Fraction | None, step: Fraction, dice: Dice) -> Fraction:
    step = abs(step)
    least, most = _span(None if low is None else Fraction(low), None if high is None else Fraction(high))
    first, last = math.ceil(least / step), math.floor(most / step)
    if last < first:
        # Only an open end may be stretched; with both given there is none.
        return (last if low is None else first) * step
    return dice.between(first, last) * step


def _float_multiple(low: _Bound, high: _Bound, step: float, dice: Dice) -> float:
    """A multiple that floating-point division agrees is one: 0.3 / 0.1 is not 3."""
    exact = Fraction(str(step))
    least, most = low and low[0], high and high[0]
    value = 0.0
    for _ in range(24):
        chosen = _multiple(least, most, exact, dice)
        value = int(chosen) if chosen.denominator == 1 else float(chosen)
        excluded = (low and low[1] and chosen == least) or (high and high[1] and chosen == most)
        if not excluded and (value / step).is_integer():
            return value
    return value
