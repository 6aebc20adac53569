"""The broker: a port with adapters, and the messages that go over it."""
