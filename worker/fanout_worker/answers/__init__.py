"""What a successful response says: one module per kind of call."""
