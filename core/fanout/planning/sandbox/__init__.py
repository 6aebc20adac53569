"""What runs in child processes: everything that touches untrusted documents, patterns and templates.

No pydantic, no database, no network, no secret; memory, time and files are limited (confine.py). `.importlinter` holds it to that.
"""
