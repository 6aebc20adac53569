"""What all tests share."""

import asyncio

# Python 3.11 makes an event loop for whoever asks for the current one, as looptime and pytest-asyncio do before a test, and
# nobody closes it: its garbage collection would fail whatever test is running then. From here on, asking makes none.
asyncio.set_event_loop(None)
