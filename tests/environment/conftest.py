from collections.abc import Iterator
from pathlib import Path

import pytest

from .local_index import LocalIndex, serving
from .machine import Machine


@pytest.fixture
def index() -> Iterator[LocalIndex]:
    with serving() as index:
        yield index


@pytest.fixture
def machine(index: LocalIndex, tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(index, tmp_path)
    yield machine
    machine.end()
