"""The doors run on uvloop, as the gateway does; what speaks MQTT by itself is tested on asyncio's loop too."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

ON_BOTH = ("test_listen_protocol", "test_listen_tls", "test_listen_hostile", "test_subscribe_fast")


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"uvloop": uvloop.new_event_loop}
    if item.path.stem in ON_BOTH:
        factories["asyncio"] = asyncio.new_event_loop
    return factories
