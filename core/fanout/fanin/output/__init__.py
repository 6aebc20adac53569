"""Writing files: streamed, and complete or not there."""
