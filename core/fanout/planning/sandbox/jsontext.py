"""JSON as texts and fields carry it: compact, UTF-8, and with whole numbers of any size."""

from __future__ import annotations

import json
from typing import Any

import msgspec


def to_json(value: Any) -> bytes:
    """`value` as compact JSON. Raises ValueError for what has no JSON form."""
    try:
        return msgspec.json.encode(value)
    except OverflowError:  # msgspec reads whole numbers beyond 64 bits, but does not write them
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str).encode()
    except (TypeError, RecursionError) as error:
        raise ValueError(f"no JSON form: {error}") from error
