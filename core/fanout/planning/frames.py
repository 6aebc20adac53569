"""What goes between the engine and the parser's child process: the one interface of untrusted input, bytes → chunks.

The child imports no pydantic, no ledger and no network code, and sees no secret; it could as well be a pod.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class BranchTemplates(msgspec.Struct, frozen=True, kw_only=True):
    """What a branch renders for each chunk."""

    name: str
    kind: Literal["chat", "embed", "passthrough"]
    samples: int = 1
    system: str | None = None
    """Chat: template that knows params and branch; rendered once."""
    prompt: str | None = None
    """Chat: the user message's template. Embed: the input's template."""
    messages: list[tuple[str, str]] | None = None
    """Chat, in place of system and prompt: (role, template)."""
    identity: bytes = b""
    """Whatever else makes two requests the same or not (endpoints, parameters, schema): goes into the digest."""


class ParseJob(msgspec.Struct, frozen=True, kw_only=True):
    """All that the parser needs to know of a job."""

    format: Literal["JSONL", "JSON", "CSV", "Text", "OpenAIBatch", "Inline"]
    """Inline: JSONL whose lines are strings or objects."""
    text_field: str
    id_field: str | None
    split_by: Literal["Item", "Paragraph", "Pattern", "Tokens"]
    max_tokens: int | None
    pattern: str | None
    branches: list[BranchTemplates]
    params: dict[str, Any]
    max_item_bytes: int = 64 * 1024 * 1024
    """A line, CSV record, JSON element or text file larger than this fails."""
    max_prompt_bytes: int = 8 * 1024 * 1024
    """A rendered prompt larger than this fails."""
    item_seconds: float = 10.0
    """Time for reading, splitting and rendering one item (per 1,000 chunks of it), so that no input stalls the job."""


class Problem(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A typed error of planning. Fails its own item or chunk, and nothing else."""

    reason: str
    """InvalidRecord, DuplicateId, TemplateFailed, TooLarge or TooSlow."""
    message: str
    """Where, what, and what to do: 'data.jsonl line 512: not JSON: …'."""


class Request(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One branch's rendered request for one chunk, without what is the same for all (system, parameters, model)."""

    body: bytes
    """JSON. Chat: the prompt (a string), or the messages ([{role, content}]). Embed: the input (a string).
    Passthrough: {"url": …, "body": {…}}."""
    tokens: int
    """Estimated input tokens."""
    digest: bytes
    """16 bytes: equal for two requests whose answers may be shared (same body, system and identity)."""


class Chunk(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A piece of an item, with its requests (one per branch), or what went wrong."""

    index: int
    title: str
    text: bytes
    """Packed (see fanout.ledger.blobs): the chunk's text."""
    tokens: int
    requests: list[Request] = []
    problem: Problem | None = None


class Item(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One record or document. An item that could not be read has no chunks and a problem."""

    position: int
    """From 0, over all files."""
    id: str
    """From idField, else the position; 'position:17' where idField is set but the record has none or cannot be read."""
    name: str
    """The file it came from."""
    fields: bytes
    """JSON object of its fields without the text field; empty where there are none."""
    where: str
    """For errors about it: 'data.jsonl line 512'."""
    digest: bytes
    """16 bytes over the raw record: tells on resume whether the input is still the same."""
    chunks: list[Chunk] = []
    """A large document's chunks may come in several frames: `more` says that the item goes on in the next one."""
    problem: Problem | None = None
    more: bool = False


class Started(msgspec.Struct, frozen=True, kw_only=True, tag="started"):
    """The child's first frame: the templates compile."""

    systems: list[str]
    """Each branch's rendered system message; empty where it has none."""


class Items(msgspec.Struct, frozen=True, kw_only=True, tag="items"):
    """Some items, in input order."""

    items: list[Item]


class Finished(msgspec.Struct, frozen=True, kw_only=True, tag="finished"):
    """The child's last frame: the input ended, or cannot be read any further (the items so far stay)."""

    items: int
    problem: Problem | None = None


FromParser = Started | Items | Finished
