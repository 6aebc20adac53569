"""Fanout: fan-out/fan-in for AI workloads.

This package is the engine. It knows no Kubernetes and no AMQP: those are adapters at its edge.
Importing it must stay cheap, because the parser's child process imports parts of it: so nothing is imported here.
"""

__version__ = "0.1.0"
