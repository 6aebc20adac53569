"""The engine: one job's way from its plan to its end, and everything that jobs share."""
