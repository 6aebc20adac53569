"""Structured output: an answer's text as JSON that holds to a JSON Schema, or a fault that a model can act on."""
