"""The confined Jinja2 environment.

Data comes first: `item.fields.items` is the column, not a method of dict. What could take much memory in one step is refused or
bounded here; what takes time is Python code, which the caller's alarm stops; the process's memory limit is the last wall.
"""

from __future__ import annotations

import re
from typing import Any

from jinja2 import StrictUndefined, Undefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_REPEATED = 1 << 20  # characters or elements that `*` may make
MAX_BITS = 4096  # of a whole number
MAX_WIDTH = 10_000  # of padding
# Not the same each time, so a job could not be resumed.
RANDOM = ("random",)
# Methods that pad to any width.
_PADDING = frozenset({"center", "ljust", "rjust", "zfill", "expandtabs", "format_map"})
_WIDTH = re.compile(r"\d{5,}|\*")


class Fields(dict[str, Any]):
    """An item's fields."""


class Environment(ImmutableSandboxedEnvironment):
    """Jinja2 for prompts: strict, plain text, bounded."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True, cache_size=0)
        del self.globals["lipsum"]
        for name in RANDOM:
            del self.filters[name]
        self.filters |= {name: _bounded(name) for name in ("center", "indent", "batch", "slice", "format", "wordwrap")}

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "*":
            _check_product(left, right)
        elif operator == "**":
            _check_power(left, right)
        elif isinstance(left, str):
            _check_format(left)
        return super().call_binop(context, operator, left, right)

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, dict):
            if attribute in obj:
                return obj[attribute]
            if attribute not in ("items", "keys", "values", "get"):
                return self._missing(obj, attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, dict) and isinstance(argument, str):
            return obj[argument] if argument in obj else self._missing(obj, argument)
        return super().getitem(obj, argument)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return attr not in _PADDING and super().is_safe_attribute(obj, attr, value)

    def _missing(self, obj: dict[str, Any], name: str) -> Undefined:
        has = ", ".join(str(key) for key in list(obj)[:20]) or "none"
        more = ", …" if len(obj) > 20 else ""
        what = f'item has no field "{name}"' if isinstance(obj, Fields) else f'no "{name}" here'
        return self.undefined(f"{what}; it has: {has}{more}", obj, name)


def _check_product(left: Any, right: Any) -> None:
    for one, other in ((left, right), (right, left)):
        if isinstance(one, str | list | tuple) and isinstance(other, int) and len(one) * other > MAX_REPEATED:
            raise SecurityError(f"{len(one)} × {other} is more than a template may repeat ({MAX_REPEATED:,})")
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() + right.bit_length() > MAX_BITS:
        raise SecurityError("a number grows too large")


def _check_power(left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() * abs(right) > MAX_BITS:
        raise SecurityError("a number grows too large")


def _check_format(pattern: str) -> None:
    if "%" in pattern and any(_WIDTH.search(part) for part in re.findall(r"%[^a-zA-Z%]*", pattern)):
        raise SecurityError(f"a width is more than a template may pad to ({MAX_WIDTH:,})")


def _bounded(name: str) -> Any:
    """Jinja's filter, with its widths bounded."""
    original: Any = FILTERS[name]

    def bounded(*args: Any, **kwargs: Any) -> Any:
        if name == "format":
            _check_format(str(args[0]))
        # Before the width stands what is filtered, and for some the evaluation context.
        elif any(isinstance(each, int) and each > MAX_WIDTH for each in (*args, *kwargs.values())):
            raise SecurityError(f"{name}: more than a template may pad to ({MAX_WIDTH:,})")
        return original(*args, **kwargs)

    if hasattr(original, "jinja_pass_arg"):
        vars(bounded)["jinja_pass_arg"] = original.jinja_pass_arg
    return bounded


FORBIDDEN: dict[type[nodes.Node], str] = {
    nodes.Macro: "macro",
    nodes.CallBlock: "call",
    nodes.FilterBlock: "filter",
    nodes.AssignBlock: "set … endset",
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "from … import",
    nodes.Extends: "extends",
    nodes.Block: "block",
    nodes.ScopedEvalContextModifier: "autoescape",
}
"""What prompts do not need, and what could hide the size of what they make."""
