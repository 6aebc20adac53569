"""Rendering: one compiled template, bounded output. Run it where memory and time are limited (the child processes)."""

from __future__ import annotations

from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError

from fanout.planning.frames import Problem
from fanout.planning.sandbox.template.check import forbidden
from fanout.planning.sandbox.template.environment import Environment


class RenderError(Exception):
    """A template could not be rendered for this context."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Prompt:
    """A template. `name` says which, in errors ('branch "label": prompt')."""

    def __init__(self, environment: Environment, source: str, name: str, max_bytes: int) -> None:
        self._name = name
        self._max_bytes = max_bytes
        try:
            tree = environment.parse(source)
            if faults := forbidden(tree):
                raise self._failed(faults[0])
            self._template = environment.from_string(tree)
        except TemplateSyntaxError as error:
            raise self._failed(f"line {error.lineno}: {error.message}") from None
        except (TemplateError, RecursionError, MemoryError, ValueError, SyntaxError) as error:
            raise self._failed(f"{type(error).__name__}: {error}") from None

    def render(self, context: dict[str, Any]) -> str:
        """The text for one context. Raises RenderError; lets the caller's alarm through (it is no Exception)."""
        try:
            text = self._bounded(context)
        except MemoryError:
            text = None
        except Exception as error:  # whatever a template runs into fails what it is rendered for, and no more
            raise self._failed(_fault(error)) from None
        if text is None:
            raise self._too_large()
        return text

    def _bounded(self, context: dict[str, Any]) -> str | None:
        """The text; None if it grows too large."""
        pieces: list[str] = []
        room = self._max_bytes
        for piece in self._template.generate(context):
            room -= len(piece)
            if room < 0:
                return None
            pieces.append(piece)
        text = "".join(pieces)
        return text if text.isascii() or len(text.encode()) <= self._max_bytes else None

    def _too_large(self) -> RenderError:
        return RenderError(
            Problem(
                reason="TooLarge",
                message=f"{self._name} makes more than {self._max_bytes:,} bytes: split the item (split.maxTokens), or show less",
            )
        )

    def _failed(self, fault: str) -> RenderError:
        return RenderError(Problem(reason="TemplateFailed", message=f"{self._name}: {fault}"))


def _fault(error: Exception) -> str:
    if isinstance(error, TemplateError):
        message = str(error)
        if message.startswith("item has no field"):
            message += ' (where a field may be missing, give it a default: {{ item.fields.x | default("") }})'
        return message
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return f"{type(error).__name__}: {error}"
