"""A simulated model with the behaviour of a real API: `fanout simulate`, and endpoints with `api: Simulated`."""
