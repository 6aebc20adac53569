"""What a call's outcome means for its tasks: settled, or tried again. Pure: no clock, no I/O.

Every open task of the call comes out exactly once: in `settled` or in one call of `again`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import msgspec

from fanout.broker.messages import Answer, ResultMessage
from fanout.broker.outcome import ENDPOINT_FAULTS, HANDED_BACK, THROTTLED, TRANSIENT, Outcome
from fanout.dispatch.backoff import full_jitter
from fanout.dispatch.lane import Lane
from fanout.ledger.blobs import pack
from fanout.ledger.calls import Call

# A poisoned batch is halved to find the one task that is to blame.
HALVED = frozenset({Outcome.TRUNCATED, Outcome.BAD_REQUEST, Outcome.CONTENT_FILTERED, Outcome.CONTEXT_TOO_LONG})


class Repair(msgspec.Struct, frozen=True):
    """What a model is shown when it is asked again: its answer, and what is wrong with it."""

    text: str
    fault: str


@dataclass(frozen=True)
class Again:
    """A call to make again, for some of the tasks."""

    tasks: list[int]
    why: str
    turn: int
    delay: float = 0.0
    repair: bytes | None = None
    repaired: bool = False
    attempts: int = 0
    failures: int = 0
    throttles: int = 0
    faults: int = 0
    """Endpoints of the lane that will never take this call: a bit for each."""


@dataclass
class Verdict:
    """What follows from one result."""

    attempts: int
    """Of the chain, this call included."""
    settled: list[tuple[int, Answer]] = field(default_factory=list)
    """(task, its answer or its final error)."""
    again: list[Again] = field(default_factory=list)


def judge(call: Call, result: ResultMessage, lane: Lane, still_open: Sequence[int], random: Random) -> Verdict:
    """Decide what becomes of the tasks of `call` that are `still_open`."""
    if result.outcome == Outcome.SUCCEEDED and len(result.answers) != len(call.tasks):
        fault = f"the worker gave {len(result.answers)} answers to {len(call.tasks)} tasks"
        result = msgspec.structs.replace(result, outcome=Outcome.SERVER_ERROR, error=fault)
    counted = result.sent and result.outcome not in THROTTLED
    verdict = Verdict(attempts=call.attempts + counted)
    if result.outcome == Outcome.SUCCEEDED:
        _judge_answers(call, result, still_open, verdict)
    elif still_open:
        _judge_refusal(call, result, lane, list(still_open), verdict, random)
    return verdict


def _judge_answers(call: Call, result: ResultMessage, still_open: Sequence[int], verdict: Verdict) -> None:
    wanted = set(still_open)
    for task, answer in zip(call.tasks, result.answers, strict=True):
        if task not in wanted:
            continue
        if answer.outcome == Outcome.BAD_OUTPUT and not call.repaired:
            repair = pack(msgspec.json.encode(Repair(answer.text, answer.fault))) if answer.text else None
            verdict.again.append(
                Again([task], "Repair", call.turn, repair=repair, repaired=True, attempts=verdict.attempts,
                      failures=call.failures, faults=call.faults)
            )  # fmt: skip
        else:
            verdict.settled.append((task, answer))


def _judge_refusal(
    call: Call, result: ResultMessage, lane: Lane, tasks: list[int], verdict: Verdict, random: Random
) -> None:
    def again(why: str, *, turn: int = call.turn, delay: float = 0.0, failures: int = call.failures,
              throttles: int = 0, faults: int = call.faults, some: list[int] = tasks) -> None:  # fmt: skip
        verdict.again.append(
            Again(some, why, turn, delay, call.repair, call.repaired, verdict.attempts, failures, throttles, faults)
        )

    outcome, several = result.outcome, len(lane.endpoints) > 1
    # Where it was, not where it should have been: a throttled endpoint's calls go to the next one meanwhile.
    here = lane.endpoints.index(call.endpoint or lane.endpoints[0])
    faults = call.faults | 1 << here
    if outcome in THROTTLED:
        again("Throttled", throttles=call.throttles + 1)
    elif outcome in HANDED_BACK and outcome != Outcome.LOST:
        again("Redone")
    elif len(tasks) > 1 and outcome in HALVED:
        half = (len(tasks) + 1) // 2
        again("Split", some=tasks[:half])
        again("Split", some=tasks[half:])
    elif outcome in ENDPOINT_FAULTS and faults.bit_count() < len(lane.endpoints):
        again("Failover", turn=here + 1, faults=faults)
    elif outcome in TRANSIENT | {Outcome.LOST} and call.failures < lane.retry_limit:
        delay = full_jitter(call.failures + 1, lane.max_backoff_seconds, random)
        turn = here + 1 if several else call.turn
        again("Failover" if several else "Retry", turn=turn, delay=delay, failures=call.failures + 1)
    else:
        body = result.answers[0].value if lane.keeps_refusals and result.answers else b""
        verdict.settled.extend((task, Answer(outcome=outcome, fault=result.error, value=body)) for task in tasks)
