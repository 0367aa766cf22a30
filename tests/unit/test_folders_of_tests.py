"""Databases of tests go into memory only where there is enough of it."""

from pathlib import Path

import psutil

from tests.services.folders import spare_bytes


def test_a_container_has_no_more_memory_than_it_may_take(tmp_path: Path) -> None:
    """Its memory file system tells that of the machine, and counts as the container's."""
    (tmp_path / "memory.current").write_text("1000\n")
    (tmp_path / "memory.max").write_text("5000\n")
    assert spare_bytes(tmp_path) == 4000
    (tmp_path / "memory.max").write_text("max\n")
    assert 4000 < spare_bytes(tmp_path) <= psutil.virtual_memory().total
    assert 4000 < spare_bytes(tmp_path / "none") <= psutil.virtual_memory().total
