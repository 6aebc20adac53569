"""How long to wait before trying again."""

from __future__ import annotations

from random import Random

FIRST_SECONDS = 1.0


def full_jitter(tries: int, longest: float, random: Random) -> float:
    """Seconds before try number `tries` (1 is the first repeat): anything from 0 to 1, 2, 4, … seconds, at most `longest`.

    Full jitter spreads the repeats of many calls that failed together (M. Brooker, "Exponential Backoff and Jitter", AWS, 2015).
    """
    return random.uniform(0.0, min(longest, FIRST_SECONDS * 2.0 ** min(tries - 1, 30)))
