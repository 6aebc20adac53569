"""Strings for a JSON Schema: words of the prompt, or what format and pattern ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fanout_worker.simulated.dice import Dice
from fanout_worker.simulated.pattern import matching
from fanout_worker.simulated.prompt import Prompt

# Properties of these names get a phrase; others, such as a label, a single word.
_PROSE = frozenset(
    {"answer", "comment", "description", "explanation", "reason", "reasoning", "reasons", "summary", "text", "title"}
)
# A schema must not make a server run out of memory.
_MOST = 1_000_000


def string(schema: dict[str, Any], dice: Dice, prompt: Prompt, name: str) -> str:
    """A string that fits; `name` is the property it is for."""
    least = min(int(schema.get("minLength", 0)), _MOST)
    most = schema.get("maxLength")
    most = None if most is None else int(most)
    if (make := _FORMATS.get(schema.get("format", ""))) is not None:
        return make(dice)
    if "pattern" in schema and (found := matching(schema["pattern"], least, most, dice)) is not None:
        return found
    if most == 0:
        return ""
    text = prompt.phrase(dice, dice.between(6, 12) if name.lower() in _PROSE else 1)
    while len(text) < least:
        text += " " + prompt.phrase(dice, 1 + min(200, least // 8))
    # Words are cut where the length asks for it.
    return text if most is None and least == 0 else _fit(text, least, most)


def _fit(text: str, least: int, most: int | None) -> str:
    if most is None or len(text) <= most:
        return text
    cut = text[:most]
    whole = cut.rpartition(" ")[0] if text[most] != " " else cut
    return whole if whole and len(whole) >= least else cut


def _date(dice: Dice) -> str:
    return f"{dice.between(1990, 2029)}-{dice.between(1, 12):02}-{dice.between(1, 28):02}"


def _time(dice: Dice) -> str:
    return f"{dice.below(24):02}:{dice.below(60):02}:{dice.below(60):02}Z"


def _host(dice: Dice) -> str:
    return f"host-{dice.below(1000)}.example.org"


def _uuid(dice: Dice) -> str:
    digits = f"{dice.roll():016x}{dice.roll():016x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


_FORMATS: dict[str, Callable[[Dice], str]] = {
    "date": _date,
    "time": _time,
    "date-time": lambda dice: f"{_date(dice)}T{_time(dice)}",
    "duration": lambda dice: f"PT{dice.between(1, 59)}M",
    "email": lambda dice: f"user{dice.below(1000)}@example.org",
    "idn-email": lambda dice: f"user{dice.below(1000)}@example.org",
    "hostname": _host,
    "idn-hostname": _host,
    "ipv4": lambda dice: f"192.0.2.{dice.between(1, 254)}",
    "ipv6": lambda dice: f"2001:db8::{dice.between(1, 65535):x}",
    "uri": lambda dice: f"https://{_host(dice)}/{dice.below(1000)}",
    "uri-reference": lambda dice: f"/{dice.below(1000)}",
    "iri": lambda dice: f"https://{_host(dice)}/{dice.below(1000)}",
    "uuid": _uuid,
    "json-pointer": lambda dice: f"/{dice.below(100)}",
    "regex": lambda _: "^[a-z]+$",
}
