"""From bytes to tasks: read, split, render; the parsing half runs in a child process of its own."""
