"""What is allowed and yet worth a word: context that is sent, and paid for, with every chunk."""

from __future__ import annotations

from collections.abc import Iterator

from fanout.api.base import Fault
from fanout.api.branch import Branch
from fanout.api.job import FanOutJobSpec
from fanout.planning.assemble.chat import AssembleChat
from fanout.planning.tokens import estimate

# A system message of a paragraph is usual; several pages of instructions or examples are worth a thought.
REPEATED_TOKENS = 500


def warnings(spec: FanOutJobSpec) -> list[Fault]:
    """Places where a change may save money; nothing is wrong."""
    return [
        fault for i, branch in enumerate(spec.map.branches) for fault in _repeated(branch, f"spec.map.branches[{i}]")
    ]


def _repeated(branch: Branch, path: str) -> Iterator[Fault]:
    if branch.chat is None:
        return
    chat = branch.chat
    fixed = AssembleChat(branch.name, chat.system or "", chat.parameters, chat.response_schema).shared_tokens(1)
    fixed += sum(estimate(text) for text in (chat.prompt, *(m.content for m in chat.messages or ())) if text)
    if fixed < REPEATED_TOKENS:
        return
    if branch.batch.max_items == 1 and chat.prompt is not None:
        advice = "batch.maxItems lets light tasks share a call and its context"
    else:
        advice = "shorten it, or choose an endpoint with a price for cached input"
    yield Fault(f"{path}.chat", f"about {fixed} tokens are the same in every call: {advice}")
