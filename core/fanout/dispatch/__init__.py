"""Sending calls: which, where, when, and what to do with what came back."""
