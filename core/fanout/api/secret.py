"""Secrets (v1) that stand beside the resources: credentials for `fanout run`. No message ever holds a value."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fanout.api.base import Fault, join


@dataclass(frozen=True)
class Secret:
    """A Kubernetes Secret, decoded."""

    name: str
    namespace: str
    data: Mapping[str, str] = field(repr=False)


def read_secret(value: Mapping[str, Any]) -> tuple[Secret | None, list[Fault]]:
    """A Secret's manifest as a Secret, or what is wrong with it."""
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    faults = [] if isinstance(name, str) and name else [Fault("metadata.name", "is missing: name the Secret")]
    data: dict[str, str] = {}
    # As in Kubernetes, stringData wins.
    for part in ("data", "stringData"):
        entries = value.get(part) or {}
        if not isinstance(entries, dict):
            faults.append(Fault(part, "must be a mapping of keys and texts"))
            continue
        for key, entry in entries.items():
            text, wrong = _decoded(entry, encoded=part == "data")
            data[key] = text
            if wrong:
                faults.append(Fault(join(part, key), wrong))
    if faults:
        return None, faults
    return Secret(str(name), str(metadata.get("namespace") or "default") if metadata else "default", data), []


def _decoded(entry: Any, *, encoded: bool) -> tuple[str, str]:
    """The text, and what is wrong with it."""
    if not isinstance(entry, str):
        return "", "must be a text: quote it"
    if not encoded:
        return entry, ""
    try:
        return base64.b64decode("".join(entry.split()), validate=True).decode(), ""
    except (binascii.Error, UnicodeDecodeError):
        return "", "is not base64 of a text: put the plain text into stringData instead"
