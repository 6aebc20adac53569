"""Choices that depend on nothing but a text: the same words always give the same choices, in every process."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")

_MASK = (1 << 64) - 1


class Dice:
    """A stream of pseudo-random choices seeded by a hash (SplitMix64).

    random.Random would do, but seeding one costs more than all the choices of a typical answer.
    """

    __slots__ = ("_state",)

    def __init__(self, *parts: str) -> None:
        digest = blake2b("\x00".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
        self._state = int.from_bytes(digest, "big")

    def roll(self) -> int:
        """A number in [0, 2**64)."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def below(self, n: int) -> int:
        """A number in [0, n)."""
        if n <= _MASK:
            return self.roll() % n
        return ((self.roll() << 64) | self.roll()) % n

    def between(self, low: int, high: int) -> int:
        """A number in [low, high]."""
        return low + self.below(high - low + 1)

    def pick(self, choices: Sequence[T]) -> T:
        """One of `choices`, which must not be empty."""
        return choices[self.below(len(choices))]
