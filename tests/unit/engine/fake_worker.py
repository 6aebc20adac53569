"""A worker without a model: consumes calls, answers them as the test says, and keeps count."""

import asyncio
import re
from collections import Counter

import msgspec

from fanout.broker.messages import Answer, Heartbeat, ResultMessage, TokenUsage
from fanout.broker.outcome import Outcome

SECONDS = 0.002  # what a call takes, where the test does not say
ITEM = re.compile(r'<item id="\d+">(.*?)</item>', re.DOTALL)


class Meter:
    """What several workers have in flight together, and at most had; and what they were asked, in order."""

    def __init__(self):
        self.now, self.most, self.asked = Counter(), Counter(), []

    def begin(self, key):
        self.now[key] += 1
        self.most[key] = max(self.most[key], self.now[key])

    def end(self, key):
        self.now[key] -= 1


def prompt_of(message):
    """What the user says last in a call."""
    return msgspec.json.decode(message.body)["messages"][-1]["content"]


def texts_of(message):
    """The tasks' texts of a call."""
    prompt = prompt_of(message)
    return ITEM.findall(prompt) if message.expect.batched else [prompt]


def result(message, outcome=Outcome.SUCCEEDED, answers=None, **fields):
    """What became of a call; by default each task's answer is its text in capitals."""
    if answers is None:
        succeeded = outcome == Outcome.SUCCEEDED
        answers = [Answer(value=msgspec.json.encode(text.upper())) for text in texts_of(message)] if succeeded else []
    fields.setdefault("usage", TokenUsage(input_tokens=10, output_tokens=2) if outcome == Outcome.SUCCEEDED else None)
    fields.setdefault("error", "" if outcome == Outcome.SUCCEEDED else "it broke")
    return ResultMessage(
        epoch=message.epoch, call=message.call, endpoint=message.endpoint, worker="w", outcome=outcome,
        answers=answers, latency_seconds=SECONDS, **fields,
    )  # fmt: skip


async def succeed(message):
    """Answer at once, as it were."""
    await asyncio.sleep(SECONDS)
    return result(message)


class FakeWorker:
    """`answer` makes the result of a call; None: no word about it. Cancelled calls are answered as a worker does."""

    def __init__(self, broker, endpoint="small", answer=succeed, *, slots=4, name="w", meter=None, beat=0.02):
        self.broker, self.endpoint, self.answer = broker, endpoint, answer
        self.slots, self.name, self.beat = slots, name, beat
        self.meter = meter or Meter()
        self.held, self.cancelled, self.deliveries = {}, [], {}
        self.silent = False

    @property
    def asked(self):
        return self.meter.asked

    async def __aenter__(self):
        self.cancels = await self.broker.consume_cancels(self.endpoint, self._cancel)
        self.calls = await self.broker.consume_calls(self.endpoint, self.slots, self._take)
        self.heart = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *_error):
        self.heart.cancel()
        tasks = [self.heart, *self.held.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.calls.close()
        await self.cancels.close()

    async def _beat(self):
        while True:
            if not self.silent:
                beat = Heartbeat(worker=self.name, endpoint=self.endpoint, slots=self.slots, calls=list(self.held))
                await self.broker.publish_report(beat)
            await asyncio.sleep(self.beat)

    def _take(self, delivery):
        message = delivery.message
        self.deliveries[message.call] = delivery
        self.asked.append(message)
        self.held[message.call] = asyncio.create_task(self._work(delivery))

    async def _work(self, delivery):
        message = delivery.message
        self.meter.begin(self.endpoint)
        try:
            answer = await self.answer(message)
        except asyncio.CancelledError:
            if message.call not in self.cancelled:
                raise
            answer = result(message, Outcome.CANCELLED, error="cancelled by the dispatcher")
        finally:
            self.meter.end(self.endpoint)
        if answer is None:
            return
        self.held.pop(message.call, None)
        await self.broker.publish_report(answer)
        await delivery.ack()

    def _cancel(self, cancel):
        for call in cancel.calls:
            self.cancelled.append(call)
            if call in self.held:
                self.held[call].cancel()
