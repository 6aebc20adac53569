"""Sums that a prompt asks for ("Compute 17 * 3. Only the number."), so that simulated votes have a right answer."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from fractions import Fraction

_SHORT = 200
_ASKS = re.compile(r"\b(?:compute|calculate|evaluate|solve|what is|what's|how much is)\b|=\s*\??\s*$", re.IGNORECASE)
_NUMBER = r"\(*\s*-?\d{1,12}(?:\.\d{1,6})?\s*\)*"
_SUM = re.compile(rf"{_NUMBER}(?:\s*[-+*/×÷]\s*{_NUMBER}){{1,20}}")
_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def computed(text: str) -> str | None:
    """The result of the sum that a short text asks for, or is; None where there is none."""
    if len(text) > _SHORT or (found := _SUM.search(text)) is None:
        return None
    if _ASKS.search(text) is None and found.group().strip() != text.strip(" .?"):
        return None
    try:
        tree = ast.parse(found.group().strip().replace("×", "*").replace("÷", "/"), mode="eval")
        return _shown(_value(tree.body))
    except (SyntaxError, ZeroDivisionError):
        return None


def _value(node: ast.expr) -> Fraction:
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.left), _value(node.right))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if isinstance(node, ast.Constant):
        return Fraction(str(node.value))
    raise SyntaxError("not a sum")


def _shown(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else f"{float(value):.6g}"
