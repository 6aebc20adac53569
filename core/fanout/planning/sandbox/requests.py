"""One branch's request for each chunk: rendered, weighed, and with a digest that is the same for the same request."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import msgspec

from fanout.planning.frames import BranchTemplates, Request
from fanout.planning.sandbox.jsontext import to_json
from fanout.planning.sandbox.template.environment import Environment
from fanout.planning.sandbox.template.render import Prompt, RenderError
from fanout.planning.tokens import estimate

# What the API puts around a message, in tokens.
MESSAGE_TOKENS = 4
Context = dict[str, Any]
Body = Callable[[Context, Any], tuple[bytes, int]]
"""(context, raw record) → the request's JSON and its estimated tokens. Raises RenderError."""


class BranchRequests:
    """Makes a branch's requests. Raises RenderError for a template that cannot be compiled or a system that cannot be rendered."""

    def __init__(
        self, environment: Environment, branch: BranchTemplates, params: dict[str, Any], max_bytes: int
    ) -> None:
        self._context = {"name": branch.name}
        self.system = ""
        if branch.system is not None:
            system = Prompt(environment, branch.system, f'branch "{branch.name}": system', max_bytes)
            self.system = system.render({"params": params, "branch": self._context})
        self._body = _body(environment, branch, max_bytes)
        self._digest = blake2b(digest_size=16)
        for part in (branch.kind.encode(), self.system.encode(), branch.identity):
            self._digest.update(len(part).to_bytes(8) + part)

    def request(self, context: Context, value: Any) -> Request:
        """The request for one chunk; `context` gets this branch's name. Raises RenderError."""
        context["branch"] = self._context
        body, tokens = self._body(context, value)
        digest = self._digest.copy()
        digest.update(body)
        return Request(body=body, tokens=tokens, digest=digest.digest())


def _body(environment: Environment, branch: BranchTemplates, max_bytes: int) -> Body:
    if branch.kind == "passthrough":
        return _pass_through
    if branch.messages is not None:
        return _Messages(environment, branch, max_bytes)
    return _Single(environment, branch, max_bytes)


class _Single:
    """A user message, or an embedding's input."""

    def __init__(self, environment: Environment, branch: BranchTemplates, max_bytes: int) -> None:
        where = f'branch "{branch.name}": ' + ("input" if branch.kind == "embed" else "prompt")
        self._prompt = Prompt(environment, branch.prompt or "", where, max_bytes)

    def __call__(self, context: Context, _value: Any) -> tuple[bytes, int]:
        text = self._prompt.render(context)
        return msgspec.json.encode(text), estimate(text)


class _Messages:
    """A whole conversation."""

    def __init__(self, environment: Environment, branch: BranchTemplates, max_bytes: int) -> None:
        self._messages = [
            (role, Prompt(environment, source, f'branch "{branch.name}": messages[{i}]', max_bytes))
            for i, (role, source) in enumerate(branch.messages or [])
        ]

    def __call__(self, context: Context, _value: Any) -> tuple[bytes, int]:
        said = [{"role": role, "content": prompt.render(context)} for role, prompt in self._messages]
        return msgspec.json.encode(said), sum(estimate(each["content"]) + MESSAGE_TOKENS for each in said)


def _pass_through(_context: Context, value: Any) -> tuple[bytes, int]:
    body = to_json({"url": value["url"], "body": value["body"]})
    return body, estimate(body.decode())


__all__ = ["BranchRequests", "RenderError"]
