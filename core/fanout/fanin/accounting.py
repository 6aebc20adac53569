"""What calls cost, and each task's share of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from fanout.api.endpoint import Pricing
from fanout.broker.messages import ResultMessage
from fanout.broker.outcome import Outcome

PICO = 10**12  # money is counted in 10^-12 of the currency's unit: exact for prices with up to 6 decimals
# Outcomes of calls that the model may have worked on without our hearing how much.
UNTOLD = frozenset(
    {Outcome.SUCCEEDED, Outcome.TIMEOUT, Outcome.CONNECTION_FAILED, Outcome.CANCELLED, Outcome.LOST, Outcome.TRUNCATED}
)


@dataclass(frozen=True)
class Charge:
    """Tokens and money of one call."""

    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    estimated_tokens: int = 0
    """Where the call ended without telling: its estimated input."""
    cost: int = 0


def charge(result: ResultMessage, estimated_tokens: int, pricing: Pricing | None) -> Charge:
    """What a call cost, by the server's count."""
    usage = result.usage
    if usage is None:
        return Charge(estimated_tokens=estimated_tokens if result.sent and result.outcome in UNTOLD else 0)
    cost = 0
    if pricing is not None:
        cached = min(usage.cached_input_tokens, usage.input_tokens)
        cost = (
            (usage.input_tokens - cached) * _per_token(pricing.input_per_million_tokens)
            + cached * _per_token(pricing.cached_input_per_million_tokens or pricing.input_per_million_tokens)
            + usage.output_tokens * _per_token(pricing.output_per_million_tokens)
        )
    return Charge(usage.input_tokens, usage.cached_input_tokens, usage.output_tokens, 0, cost)


def _per_token(per_million: str) -> int:
    return int(Decimal(per_million) * PICO / 1_000_000)


def share_out(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in whole parts in proportion to `weights`, such that the parts add up to it (largest remainder)."""
    whole = sum(weights)
    if whole == 0:
        weights, whole = [1] * len(weights), len(weights)
    parts = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: -(total * weights[i] % whole))
    for i in by_remainder[: total - sum(parts)]:
        parts[i] += 1
    return parts


def money(pico: int) -> str:
    """An amount for people and JSON: at least four decimals, more where it is smaller than that."""
    amount = Decimal(pico) / PICO
    if amount == 0 or amount >= Decimal("0.01"):
        return f"{amount:.4f}"
    return f"{amount:.{min(12, 3 - amount.adjusted())}f}"
