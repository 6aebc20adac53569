"""How one chunk's several answers become one: a strategy per file."""
