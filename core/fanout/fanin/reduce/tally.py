"""tally: counts and shares per value of a field."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from fanout.fanin.combine.port import CombineStrategy
from fanout.fanin.lines import result_line
from fanout.fanin.output.files import replacing
from fanout.fanin.reading import ResultReader
from fanout.fanin.reduce.port import ReduceStep

# A field that is nearly unique is no category; beyond this many the rest is counted together, so that memory stays bounded.
MOST_VALUES = 10_000


class Tally(ReduceStep):
    """{"field", "total", "missing", "counts", "shares"}: counts add up to total; missing are chunks without the field."""

    def __init__(self, reader: ResultReader, combine: CombineStrategy, field: str) -> None:
        self._reader = reader
        self._combine = combine
        self._field = field

    async def write(self, path: Path) -> None:
        counts: Counter[str] = Counter()
        missing = other = 0
        async for chunk in self._reader.chunks():
            # Through JSON once: a path leads into values of any depth.
            line = msgspec.json.decode(msgspec.json.encode(result_line(chunk, self._combine)))
            found = lookup(line, self._field)
            if found is None:
                missing += 1
            elif len(counts) < MOST_VALUES or as_key(found) in counts:
                counts[as_key(found)] += 1
            else:
                other += 1
        total = counts.total() + other
        tally: dict[str, Any] = {
            "field": self._field,
            "total": total,
            "missing": missing,
            "counts": dict(counts.most_common()),
            "shares": {key: round(count / total, 6) for key, count in counts.most_common()},
        }
        if other:
            tally["other"] = other
        with replacing(path) as file:
            file.write(msgspec.json.format(msgspec.json.encode(tally), indent=2) + b"\n")


def lookup(value: Any, path: str) -> Any:
    """The value at a dotted path; None where there is none. Numbers index lists."""
    for name in path.split("."):
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value


def as_key(value: Any) -> str:
    """A value as a key of a JSON object: texts as they are, the rest as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
