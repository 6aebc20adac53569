"""The worker: a plain executor of model calls.

It knows nothing of jobs, and imports only fanout.api and fanout.broker.
"""
