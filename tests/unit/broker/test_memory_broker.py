"""The in-memory broker keeps the contract of every broker."""

import pytest

from contracts.broker_contract import BrokerContract
from fanout.broker.memory import MemoryBroker


class TestMemoryBroker(BrokerContract):
    @pytest.fixture
    def connect(self):
        async def connect():
            return MemoryBroker()

        return connect
