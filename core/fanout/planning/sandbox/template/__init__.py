"""Prompts: Jinja2 templates that come with a job, and so are checked before and confined while they run."""

from __future__ import annotations

from fanout.planning.sandbox.template.check import check_template
from fanout.planning.sandbox.template.roots import Place, Roots, roots_of

__all__ = ["Place", "Roots", "check_template", "roots_of"]
