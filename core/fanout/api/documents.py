"""YAML (and JSON) text into plain values, with the line that each stands in.

Built on the parser's events rather than PyYAML's own loader, because a manifest may come from anybody: depth and size
are bounded before anything is built (aliases multiply, the C loader overflows its stack), a key given twice is a fault,
and dates and sexagesimals stay the texts that Kubernetes takes them for.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from fanout.api.base import join
from fanout.api.scalars import ScalarError, scalar
from fanout.api.syntax import syntax_fault, unquoted_template

MAX_DEPTH = 100
MAX_NODES = 200_000  # with what aliases repeat

# libyaml is several times faster; PyYAML is built without it on a few platforms.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Remark:
    """Something wrong with the text itself."""

    line: int
    path: str
    message: str


@dataclass
class Document:
    """One document of a file: its value, and by path ("spec.map.branches[0]") the line of all that is in it."""

    value: Any
    lines: Mapping[str, int]
    remarks: list[Remark] = field(default_factory=list)


class _LimitError(Exception):
    """Nothing after this point of the text can be read."""


def parse(text: str) -> tuple[list[Document], list[Remark]]:
    """All documents of `text` that have content, and what is wrong outside of them.

    After a syntax error nothing is read, but the documents before it are there.
    """
    documents: list[Document] = []
    reader = _Reader(text)
    try:
        documents.extend(each for each in reader.documents() if each.value is not None or each.remarks)
    except yaml.YAMLError as error:
        # JSON is YAML except for a few escapes.
        as_json = _json(text)
        if as_json is not None:
            return [as_json], []
        line, message = syntax_fault(error, text)
        return documents, [Remark(line, "", message)]
    except _LimitError as stop:
        return documents, [*reader.remarks, Remark(reader.line, "", str(stop))]
    return documents, []


def _json(text: str) -> Document | None:
    if not text.lstrip().startswith("{"):
        return None
    remarks: list[Remark] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        counts = Counter(key for key, _ in pairs)
        remarks.extend(Remark(1, "", f"{key} is given twice: keep one") for key, n in counts.items() if n > 1)
        return dict(pairs)

    def refuse(word: str) -> NoReturn:
        raise ValueError(word)  # NaN and Infinity, which Python reads and JSON does not have

    try:
        return Document(json.loads(text, object_pairs_hook=unique, parse_constant=refuse), {"": 1}, remarks)
    except (ValueError, RecursionError):
        return None


class _Reader:
    """Builds values from the parser's events."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._events: Iterator[Any] = iter(())
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._nodes = 0
        self._lines: dict[str, int] = {}
        self.remarks: list[Remark] = []
        self.line = 1

    def documents(self) -> Iterator[Document]:
        self._events = yaml.parse(self._text, Loader=_LOADER)
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors, self._lines, self.remarks = {}, {}, []
                value = self._node(next(self._events), "", 0)
                yield Document(value, self._lines, self.remarks)
                self.remarks = []

    def _node(self, event: Any, path: str, depth: int) -> Any:
        self.line = event.start_mark.line + 1
        self._lines.setdefault(path, self.line)
        self._count(1)
        if depth > MAX_DEPTH:
            self._stop(f"more than {MAX_DEPTH} levels deep: a manifest is flatter than that")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path)
        before = self._nodes
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event, path)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(event, path, depth)
        else:
            value = self._mapping(event, path, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._nodes - before + 1)
        return value

    def _scalar(self, event: Any, path: str) -> Any:
        try:
            return scalar(event)
        except ScalarError as error:
            self._remark(path, str(error))
            return event.value

    def _alias(self, event: Any, path: str) -> Any:
        if event.anchor not in self._anchors:
            self._remark(path, f"*{event.anchor} refers to no anchor before it: quote a text that begins with *")
            return f"*{event.anchor}"
        value, size = self._anchors[event.anchor]
        self._count(size)
        return copy.deepcopy(value)

    def _sequence(self, event: Any, path: str, depth: int) -> list[Any]:
        self._untagged(event, path, "tag:yaml.org,2002:seq")
        result: list[Any] = []
        for entry in self._until(yaml.SequenceEndEvent):
            result.append(self._node(entry, f"{path}[{len(result)}]", depth + 1))
        return result

    def _mapping(self, event: Any, path: str, depth: int) -> Any:
        self._untagged(event, path, "tag:yaml.org,2002:map")
        result: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        is_template = False
        for key_event in self._until(yaml.MappingEndEvent):
            self.line = key_event.start_mark.line + 1
            if not isinstance(key_event, yaml.ScalarEvent):
                is_template = is_template or unquoted_template(self._text, event)
                self._skip_pair(key_event, path, depth, quiet=is_template)
                continue
            key, line = key_event.value, self.line
            if key == "<<" and key_event.implicit[0]:
                merged |= self._merge(path, depth)
                continue
            here = join(path, key)
            if key in result:
                self._remark(here, f"is given twice, first in line {self._lines[here]}: keep one")
                self._node(next(self._events), f"{here} (again)", depth + 1)
                continue
            self._lines[here] = line
            result[key] = self._node(next(self._events), here, depth + 1)
        if is_template:
            self._remark(path, 'quote the template: "{{ … }}"; without quotes, braces are a mapping to YAML')
            return self._text[
                event.start_mark.index : self._end_index
            ]  # what was meant, so that the rest can be checked
        return {**merged, **result}

    def _merge(self, path: str, depth: int) -> dict[str, Any]:
        value = self._node(next(self._events), f"{path} (merge)", depth + 1)
        parts = value if isinstance(value, list) else [value]
        if not all(isinstance(part, dict) for part in parts):
            self._remark(path, "<< takes an alias of a mapping")
            return {}
        return {k: v for part in reversed(parts) for k, v in part.items()}

    def _skip_pair(self, key_event: Any, path: str, depth: int, *, quiet: bool) -> None:
        if not quiet:
            self._remark(path, "a key is a text, not a list, a mapping or an alias")
        self._node(key_event, f"{path} (key)", depth + 1)
        self._node(next(self._events), f"{path} (key)", depth + 1)

    def _until(self, end: type[Any]) -> Iterator[Any]:
        for event in self._events:
            if isinstance(event, end):
                self._end_index = event.end_mark.index
                return
            yield event

    def _untagged(self, event: Any, path: str, core: str) -> None:
        if event.tag not in (None, "!", core):
            self._remark(path, f"a manifest has no tags: leave {event.tag} out")

    def _count(self, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            self._stop(f"more than {MAX_NODES:,} values, aliases counted: put the data into a file of its own")

    def _remark(self, path: str, message: str) -> None:
        self.remarks.append(Remark(self.line, path, message))

    def _stop(self, message: str) -> NoReturn:
        raise _LimitError(message)
