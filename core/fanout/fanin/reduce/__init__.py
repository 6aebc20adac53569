"""How all chunks' answers become the output: a step per file."""
