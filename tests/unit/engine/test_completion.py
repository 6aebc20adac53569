"""The table of endings, row by row, and the moments at which a job stops early."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.api.completion import Completion
from fanout.api.status import Reason
from fanout.engine.completion import COMPLETE, Counts, Elapsed, early_stop, final, next_check
from fanout.ledger.jobs import Ending

FAIL = {"onShortfall": "Fail"}
STOPPED = {reason: Ending(reason, f"why: {reason}") for reason in ("Partial", "DeadlineExceeded", "Aborted")}


def make_policy(**fields):
    return Completion.model_validate(fields)


# policy, succeeded, failed, skipped, why it was stopped → reason, whether there is an output
ENDINGS = [
    # success ≥ minSuccessPercent
    ({}, 10, 0, 0, None, Reason.SUCCEEDED, True),
    ({"minSuccessPercent": 90}, 9, 1, 0, None, Reason.SUCCEEDED, True),
    ({"minSuccessPercent": 90} | FAIL, 9, 1, 0, None, Reason.SUCCEEDED, True),
    ({}, 0, 0, 0, None, Reason.SUCCEEDED, True),
    # less, onShortfall Partial
    ({}, 9, 1, 0, None, Reason.PARTIAL, True),
    ({"minSuccessPercent": 91}, 9, 1, 0, None, Reason.PARTIAL, True),
    ({}, 1, 99, 0, None, Reason.PARTIAL, True),
    # partialAfter or deadline, with results to show
    ({}, 8, 0, 2, "Partial", Reason.PARTIAL, True),
    ({}, 1, 0, 9, "DeadlineExceeded", Reason.DEADLINE_EXCEEDED, True),
    (FAIL, 1, 0, 9, "DeadlineExceeded", Reason.DEADLINE_EXCEEDED, True),
    # less, onShortfall Fail
    (FAIL, 9, 1, 0, None, Reason.SHORTFALL, False),
    # abort
    ({}, 50, 50, 7, "Aborted", Reason.ABORTED, False),
    ({}, 0, 100, 7, "Aborted", Reason.ABORTED, False),
    # no success at all
    ({}, 0, 10, 0, None, Reason.NO_SUCCESS, False),
    ({"minSuccessPercent": 0}, 0, 10, 0, None, Reason.NO_SUCCESS, False),
    (FAIL, 0, 10, 0, None, Reason.NO_SUCCESS, False),
    ({}, 0, 3, 7, "DeadlineExceeded", Reason.NO_SUCCESS, False),
]


@pytest.mark.parametrize(("policy", "succeeded", "failed", "skipped", "stop", "reason", "output"), ENDINGS)
def test_how_a_job_ends(policy, succeeded, failed, skipped, stop, reason, output):
    counts = Counts(succeeded + failed + skipped, succeeded, failed, skipped)
    ending = final(make_policy(**policy), counts, STOPPED[stop] if stop else None)
    assert ending.reason == reason
    assert (ending.reason in COMPLETE) == output
    assert ending.message


def test_the_message_tells_the_counts_and_what_was_asked_for():
    ending = final(make_policy(minSuccessPercent=95), Counts(10, 9, 1), None)
    assert ending.message == "9 of 10 chunks succeeded; completion.minSuccessPercent asks for 95 %"
    late = final(make_policy(), Counts(10, 0, 0, 10), STOPPED["DeadlineExceeded"])
    assert "why: DeadlineExceeded" in late.message


@given(st.integers(1, 100), st.integers(1, 10_000), st.data())
def test_percentages_are_exact(percent, planned, data):
    succeeded = data.draw(st.integers(1, planned))
    ending = final(make_policy(minSuccessPercent=percent), Counts(planned, succeeded, planned - succeeded), None)
    assert (ending.reason == Reason.SUCCEEDED) == (succeeded * 100 >= percent * planned)


def test_two_of_three_are_not_67_percent_and_are_66():
    counts = Counts(3, 2, 1)
    assert final(make_policy(minSuccessPercent=67), counts, None).reason == Reason.PARTIAL
    assert final(make_policy(minSuccessPercent=66), counts, None).reason == Reason.SUCCEEDED


JUST_BEGUN = Elapsed(0.0, None)


@pytest.mark.parametrize(
    ("succeeded", "failed", "stops"),
    [(50, 49, False), (50, 50, True), (51, 50, False), (0, 99, False), (0, 100, True), (100, 99, False)],
)
def test_abort_by_its_defaults(succeeded, failed, stops):
    stop = early_stop(make_policy(), Counts(1000, succeeded, failed), JUST_BEGUN, planned=False)
    assert (stop is not None) == stops
    assert stop is None or stop.reason == Reason.ABORTED


def test_skipped_chunks_do_not_count_as_tried():
    policy = make_policy(abort={"failedPercent": 50, "afterChunks": 10})
    assert early_stop(policy, Counts(100, 0, 9, 91), JUST_BEGUN, planned=True) is None


def test_the_deadline_holds_also_while_planning():
    policy = make_policy(deadlineSeconds=10)
    assert early_stop(policy, Counts(5, 0, 0), Elapsed(9.99, None), planned=False) is None
    stop = early_stop(policy, Counts(5, 0, 0), Elapsed(10.0, None), planned=False)
    assert stop.reason == Reason.DEADLINE_EXCEEDED
    assert "10 s" in stop.message


@pytest.mark.parametrize(
    ("succeeded", "since_first_call", "planned", "stops"),
    [
        (8, 600.0, True, True),
        (8, 599.9, True, False),
        (7, 600.0, True, False),
        (8, 600.0, False, False),
        (8, None, True, False),
        (10, 9999.0, True, True),
    ],
)
def test_partial_after_needs_the_time_and_the_share_and_the_whole_plan(succeeded, since_first_call, planned, stops):
    policy = make_policy(partialAfter={"timeoutSeconds": 600, "successPercent": 80})
    stop = early_stop(policy, Counts(10, succeeded, 0), Elapsed(10_000.0, since_first_call), planned=planned)
    assert (stop is not None) == stops
    assert stop is None or stop.reason == Reason.PARTIAL


def test_abort_comes_before_the_deadline():
    policy = make_policy(deadlineSeconds=1, abort={"failedPercent": 50, "afterChunks": 2})
    assert early_stop(policy, Counts(9, 0, 5), Elapsed(5.0, 5.0), planned=True).reason == Reason.ABORTED


@pytest.mark.parametrize(
    ("policy", "elapsed", "wait"),
    [
        ({}, Elapsed(5.0, 5.0), None),
        ({"deadlineSeconds": 60}, Elapsed(20.0, None), 40.0),
        ({"deadlineSeconds": 60}, Elapsed(70.0, None), 0.0),
        ({"partialAfter": {"timeoutSeconds": 30}}, Elapsed(20.0, None), None),
        ({"partialAfter": {"timeoutSeconds": 30}}, Elapsed(20.0, 10.0), 20.0),
        ({"partialAfter": {"timeoutSeconds": 30}}, Elapsed(50.0, 40.0), None),
        ({"deadlineSeconds": 60, "partialAfter": {"timeoutSeconds": 30}}, Elapsed(20.0, 10.0), 20.0),
        ({"deadlineSeconds": 60, "partialAfter": {"timeoutSeconds": 30}}, Elapsed(50.0, 10.0), 10.0),
        ({"deadlineSeconds": 60, "partialAfter": {"timeoutSeconds": 30}}, Elapsed(50.0, 30.0), 10.0),
    ],
)
def test_when_time_alone_may_stop_it(policy, elapsed, wait):
    assert next_check(make_policy(**policy), elapsed) == wait
