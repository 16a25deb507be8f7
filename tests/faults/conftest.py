"""What fault tests share: a house whose daemon stays up through many of them, and how much is to be done."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.house import House


@pytest.fixture(scope="session")
def is_full(request: pytest.FixtureRequest) -> bool:
    """Is each fault to last as long, and to come as often, as is recorded?"""
    return bool(request.config.getoption("--faults-full"))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("h")) as house:
        yield house
