"""From bytes to tasks. What touches untrusted input runs in child processes (sandbox/); the planner stores what they make of it."""
