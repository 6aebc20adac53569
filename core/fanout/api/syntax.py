"""What to say about a text that is not YAML: the line, the parser's words, and what was probably meant."""

from __future__ import annotations

import re
from typing import Any

import yaml

_TEMPLATE = re.compile(r"(?:^\s*|[:\-,\[]\s+)\{[{%]")
_TAB = re.compile(r"^ *\t")
# Words of the parser (libyaml's and PyYAML's own differ), and what to do about them; the first that fits is told.
_HINTS = (
    ("mapping values", 'quote a text that holds ": "'),
    ("escape", "in double quotes \\ begins an escape: use single quotes, as for patterns"),
    ("cannot start any token", "quote a text that begins with %, @ or `"),
    ("stream", "a quote or bracket is not closed"),
    ("quoted scalar", "a quote is not closed"),
    ("','", "a bracket or brace is not closed, or a comma is missing"),
    ("key", "check the indentation, and that there is a space after each colon"),
    ("':'", "write key: value, with a space after the colon"),
    ("block", "check the indentation: entries of one list or mapping begin in the same column"),
    ("document start", "check the indentation, and put --- between two documents"),
)


def unquoted_template(text: str, mapping: Any) -> bool:
    """Whether the flow mapping that begins with this event is really a template without quotes."""
    return text.startswith(("{{", "{%"), mapping.start_mark.index)


def syntax_fault(error: yaml.YAMLError, text: str) -> tuple[int, str]:
    """The line (from 1) and a sentence for a syntax error."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return _unreadable(error, text)
    mark = error.problem_mark
    problem = error.problem or error.context or "it cannot be read"
    begun = ""
    if error.context_mark is not None and error.context_mark.line != mark.line:
        begun = f" ({error.context}, begun in line {error.context_mark.line + 1})"
    # The parser often notices one line late.
    around = text.splitlines()[max(mark.line - 1, 0) : mark.line + 1]
    hint = _hint(around, problem)
    return mark.line + 1, f"column {mark.column + 1}: this is not YAML: {problem}{begun}" + (
        f". {hint}" if hint else ""
    )


def _hint(around: list[str], problem: str) -> str:
    if any(_TAB.match(line) for line in around):
        return "Indent with spaces: YAML has no tabs"
    if any(_TEMPLATE.search(line) for line in around):
        return 'Quote the template: "{{ … }}"; without quotes, braces are a mapping to YAML'
    found = next((hint for words, hint in _HINTS if words in problem), "")
    return found[:1].upper() + found[1:]


def _unreadable(error: yaml.YAMLError, text: str) -> tuple[int, str]:
    """A character that no YAML text may hold."""
    position = getattr(error, "position", None)
    line = text.count("\n", 0, position) + 1 if isinstance(position, int) else 1
    return line, "this is not YAML: it holds a control character; save the file as plain UTF-8 text"
