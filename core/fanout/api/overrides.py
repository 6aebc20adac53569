"""`--set [Kind[/name]:]path=value`: a field of the manifests, given on the command line.

Without a prefix it goes to every FanOutJob. The path begins at spec unless its first word is apiVersion, kind, metadata
or spec; [0] is an entry of a list, and the entry after the last one is added; a dot in a name is written \\. as in Helm.
The value is YAML, so 3 is a number and "3" a text; null takes the field away.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from fanout.api.documents import parse
from fanout.api.spelling import Location, closest, dotted

_ROOTS = ("apiVersion", "kind", "metadata", "spec")
_FORM = re.compile(r"(?:(?P<kind>[A-Za-z]+)(?:/(?P<name>[^:=\[\]]+))?:)?(?P<path>[^=:]+)=(?P<value>.*)", re.DOTALL)
_SEGMENT = re.compile(r"(?P<key>(?:\\.|[^.\[\]\\])+)(?P<indexes>(?:\[\d+\])*)(?:\.|$)")


class OverrideError(ValueError):
    """A --set that cannot be applied. The message says what to change."""


@dataclass(frozen=True)
class Override:
    """One --set, understood."""

    text: str
    kind: str
    name: str | None
    location: Location
    value: Any

    def matches(self, kind: Any, name: Any) -> bool:
        """Whether it is meant for the resource of this kind and name."""
        return kind == self.kind and self.name in (None, name)

    @property
    def path(self) -> str:
        """Where it writes."""
        return dotted(self.location)


def understood(text: str, kinds: tuple[str, ...]) -> Override:
    """`text` taken apart; `kinds` are those that can be named. Raises OverrideError."""
    form = _FORM.fullmatch(text)
    if form is None:
        raise OverrideError("write path=value, such as --set map.parallelism=50")
    kind = form["kind"] or kinds[0]
    if kind not in kinds:
        close = closest(kind, list(kinds))
        raise OverrideError(
            f"{kind} is no kind of Fanout: " + (f"did you mean {close}?" if close else " or ".join(kinds))
        )
    location = _location(form["path"].strip())
    return Override(text, kind, form["name"], location, _value(form["value"]))


def apply(override: Override, document: dict[str, Any]) -> None:
    """Writes the value into `document`. Raises OverrideError."""
    node: Any = document
    for i, part in enumerate(override.location[:-1]):
        here, following = dotted(override.location[: i + 1]), override.location[i + 1]
        _fits(node, part, here)
        if (part == len(node)) if isinstance(part, int) else (node.get(part) is None):
            _put(node, part, [] if isinstance(following, int) else {})
        node = node[part]
    last = override.location[-1]
    _fits(node, last, override.path)
    if override.value is None and isinstance(last, str):
        node.pop(last, None)
    else:
        _put(node, last, override.value)


def _fits(node: Any, part: str | int, here: str) -> None:
    if isinstance(part, str):
        if not isinstance(node, dict):
            raise OverrideError(f"{here}: what holds it is no mapping of fields")
    elif not isinstance(node, list):
        raise OverrideError(f"{here}: what holds it is no list")
    elif part > len(node):
        raise OverrideError(f"{here}: the list has {len(node)} entries: [{len(node)}] would add one")


def _put(node: Any, part: Any, value: Any) -> None:
    if isinstance(part, int) and part == len(node):
        node.append(value)
    else:
        node[part] = value


def _location(path: str) -> Location:
    location: list[str | int] = []
    position = 0
    while position < len(path):
        segment = _SEGMENT.match(path, position)
        if segment is None:
            raise OverrideError(f"{path} is no path: write it like map.branches[0].samples")
        location.append(re.sub(r"\\(.)", r"\1", segment["key"]))
        location.extend(int(index) for index in re.findall(r"\d+", segment["indexes"]))
        position = segment.end()
    if path.endswith(".") and not path.endswith("\\."):
        raise OverrideError(f"{path} ends with a dot: name the field")
    return tuple(location) if location[0] in _ROOTS else ("spec", *location)


def _value(text: str) -> Any:
    if text.lstrip().startswith(("{{", "{%")):
        return text  # a template is no mapping, whatever YAML makes of its braces
    documents, remarks = parse(text)
    for remark in [*(r for d in documents for r in d.remarks), *remarks]:
        raise OverrideError(f"the value: {remark.message}")
    if len(documents) > 1:
        raise OverrideError("the value is more than one YAML document")
    return documents[0].value if documents else None
