"""A JSON value inside a text that is not JSON itself, where taking it is safe.

Two things are undone: words around the value (fences, an introduction, a reasoning model's <think>), and slips of
syntax (trailing commas, single quotes, unescaped ones, missing commas). Nothing is invented: a repair is kept only when
every bracket, colon and character of content stands in the original as it stands in the repaired value, so that an
answer that was cut short is never completed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import json_repair

from fanout_worker.json_body import LAX, LENIENT, MAX_DEPTH

MAX_STARTS = 64
"""Places where a value may begin that are tried, at most."""
MAX_FOUND_CHARS = 4 * 1024 * 1024
"""A longer text is taken as it is or not at all."""
MAX_REPAIR_CHARS = 16 * 1024
"""Likewise for json_repair, whose time grows with the square of a hostile text's length."""

_FENCED = re.compile(r"\s*```[\w-]*[ \t]*\n(.*?)\n?[ \t]*```\s*", re.DOTALL)
_OPENING = re.compile(r"[\[{]")
_PAIR = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
# Quotes, commas, white space and control characters: what a repair may add, take away or change.
_SYNTAX = re.compile(r"[\s,\"'`\\\x00-\x1f\u2018-\u201f]+")
_QUOTES = tuple("\"'”’")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'', re.DOTALL)
_SLIP = re.compile(_STRING.pattern + r"|,(?=\s*[}\]])|\b(?:True|False|None)\b", re.DOTALL)
_GOING_ON = (",", ":", "'", "“", "”", "\\")
"""What follows a bracket only inside a value that goes on."""
_WORDS = {"True": "true", "False": "false", "None": "null"}
_EMPTY_STRING = re.compile(r"\"\s*\"|'\s*'|“\s*”")


def candidates(text: str) -> Iterator[Any]:
    """The values that `text` may mean, none of them invented. More than one: it is for the schema to decide."""
    text = _after_thinking(text)
    if len(text) > MAX_FOUND_CHARS:
        return
    fenced = _FENCED.fullmatch(text)
    if fenced is not None:
        text = fenced.group(1)
    found = list(_values_within(text))
    ends = [0, *(end for _, end, _ in found)]
    starts = [*(start for start, _, _ in found), len(text)]
    if all(_is_prose(text[end:start]) for end, start in zip(ends, starts, strict=True)):
        yield from (value for _, _, value in found)
    else:
        yield from _repaired(text)


def _after_thinking(text: str) -> str:
    return text.rpartition("</think>")[2] if text.lstrip().startswith("<think>") else text


def _values_within(text: str) -> Iterator[tuple[int, int, Any]]:
    """Every whole value in `text`, with its place; what is inside a value is not looked at again."""
    try:
        value, end = LENIENT.raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        pass
    else:
        if not isinstance(value, dict | list) and not text.lstrip()[end:].strip():
            yield 0, len(text), value
            return
    position = 0
    for _ in range(MAX_STARTS):
        opening = _OPENING.search(text, position)
        if opening is None:
            return
        position = opening.start()
        try:
            value, end = LENIENT.raw_decode(text, position)
        except (ValueError, RecursionError):
            position += 1
            continue
        yield position, end, value
        position = end


def _is_prose(text: str) -> bool:
    """Whether `text` can stand beside a value without being part of a larger, broken one."""
    return "{" not in text and "}" not in text and text.count("[") == text.count("]")


def _repaired(text: str) -> Iterator[Any]:
    text = _PAIR.sub(lambda pair: str(json.loads(f'"{pair.group()}"')), text)  # json_repair leaves the halves apart
    start, end = _span(text)
    if not 0 <= start < end or end - start > MAX_REPAIR_CHARS:
        return
    span = text[start:end]
    after = text[end:].lstrip()
    if not (_is_prose(text[:start]) and _is_prose(after)) or after.startswith(_GOING_ON) or '"' in after:
        return
    try:
        yield LAX.decode(_SLIP.sub(_corrected, span))
    except (ValueError, RecursionError):
        pass
    else:
        return
    if not _is_closed(span):
        return
    try:
        value = json_repair.loads(span, skip_json_loads=True)
    except (ValueError, RecursionError):
        return
    if isinstance(value, dict | list) and _same_content(span, value) and _ends_whole(span, value):
        yield value


def _corrected(token: re.Match[str]) -> str:
    """JSON for a token that is not: exact, so it goes before the guessing."""
    text = token.group()
    if text.startswith("'"):
        body = text[1:-1].replace("\\'", "'")
        return '"' + re.sub(r'(?<!\\)((?:\\\\)*)"', r'\1\\"', body) + '"'
    return _WORDS.get(text, "" if text == "," else text)


def _span(text: str) -> tuple[int, int]:
    opening = _OPENING.search(text)
    return (opening.start() if opening else -1), max(text.rfind("}"), text.rfind("]")) + 1


def _balanced(span: str) -> bool:
    """Every bracket closed by its like, no deeper than a value may be."""
    stack: list[str] = []
    for bracket in re.findall(r"[\[\]{}]", span):
        if bracket in "[{":
            stack.append("]" if bracket == "[" else "}")
            if len(stack) > MAX_DEPTH:
                return False
        elif not stack or stack.pop() != bracket:
            return False
    return not stack


def _is_closed(span: str) -> bool:
    """Whether every string and bracket is closed: what is left over may have been cut inside a string."""
    rest = _STRING.sub("", span)
    quotes_left = '"' in rest or "'" in rest or rest.count("“") != rest.count("”")
    return not quotes_left and _balanced(rest) and _balanced(span)


def _same_content(span: str, value: Any) -> bool:
    empties = [0]
    content = "".join(_content(value, empties))
    return _bare(_ESCAPE.sub(_unescaped, span)) == _bare(content) and empties[0] <= len(_EMPTY_STRING.findall(span))


def _ends_whole(span: str, value: Any) -> bool:
    """Whether a text at the end has its closing quote: without one it may have been cut at a bracket of its own."""
    last = value
    while isinstance(last, dict | list) and last:
        last = list(last.values())[-1] if isinstance(last, dict) else last[-1]
    return not isinstance(last, str) or span.rstrip(" \t\r\n,]}")[-1:] in _QUOTES


def _unescaped(match: re.Match[str]) -> str:
    if match.group(1) is not None:
        return chr(int(match.group(1), 16))
    return "" if match.group(2) in "bfnrt" else match.group(2)


def _bare(text: str) -> str:
    # Two \u escapes may be one character.
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    # Python's words for JSON's: a repair may turn the one into the other.
    return _SYNTAX.sub("", joined).lower().replace("none", "null")


def _content(value: Any, empties: list[int]) -> Iterator[str]:
    """Brackets, colons and content of `value`, in order; counts its empty strings."""
    if isinstance(value, dict):
        yield "{"
        for key, child in value.items():
            yield from _content(key, empties)
            yield ":"
            yield from _content(child, empties)
        yield "}"
    elif isinstance(value, list):
        yield "["
        for child in value:
            yield from _content(child, empties)
        yield "]"
    else:
        empties[0] += value == ""
        yield str(value)
