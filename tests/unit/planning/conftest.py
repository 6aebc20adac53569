"""Python 3.11 makes an event loop for whoever asks for the current one, as pytest-asyncio does, and nobody closes it."""

import asyncio

asyncio.set_event_loop(None)  # from here on, asking makes none
