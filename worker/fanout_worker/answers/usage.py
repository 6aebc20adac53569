"""What a response says of the tokens it cost: of a failed one too."""

from __future__ import annotations

from typing import Any

from fanout.broker.messages import TokenUsage

# A count beyond this is nonsense, and would not fit the ledger's columns.
_MOST = 2**53


def read_usage(body: Any) -> TokenUsage | None:
    """The `usage` of a response's body; None where it has none."""
    usage = body.get("usage") if isinstance(body, dict) else None
    if not isinstance(usage, dict):
        return None
    details = usage.get("prompt_tokens_details")
    # input_tokens and output_tokens: the names of OpenAI's responses API.
    return TokenUsage(
        input_tokens=_count(usage, "prompt_tokens", "input_tokens"),
        cached_input_tokens=_count(details, "cached_tokens") if isinstance(details, dict) else 0,
        output_tokens=_count(usage, "completion_tokens", "output_tokens"),
    )


def _count(counts: dict[str, Any], *names: str) -> int:
    for name in names:
        value = counts.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST:
            return int(value)
    return 0
