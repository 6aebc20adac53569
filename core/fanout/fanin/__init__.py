"""Fan-in: results are collected, a chunk's answers combined, all chunks' answers reduced and written out."""
