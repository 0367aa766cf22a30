"""The detectors' loops are compiled where that is possible, and nothing breaks where it is not."""

import ctypes
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from devices.native_library import fingerprint, open_library
from gateway.detect.engine import Engine
from gateway.detect.native import FOLDER
from gateway.detect.settings import DetectSettings
from gateway.doors.mqtt import native as parser

SCRIPTS = Path(__file__).parents[2] / "scripts"
SCRIPT = runpy.run_path(str(SCRIPTS / "build_native.py"))
BUILD = cast("Callable[[Path, Path], bool]", SCRIPT["build"])


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of the loops' sources."""
    folder = tmp_path / "native"
    folder.mkdir()
    for path in (*FOLDER.glob("*.c"), *FOLDER.glob("*.h")):
        shutil.copy(path, folder)
    return folder


def test_a_library_says_what_it_was_made_of(sources: Path) -> None:
    target = sources / "kernel.so"
    assert BUILD(sources, target)
    library = ctypes.CDLL(str(target))
    library.sources.restype = ctypes.c_char_p
    assert library.sources().decode() == fingerprint(sources) == fingerprint(FOLDER)
    (sources / "exact.h").write_text("/* changed */\n")
    assert library.sources().decode() != fingerprint(sources)
    assert [path.name for path in sources.glob("kernel*")] == ["kernel.so"]


def test_the_parser_of_a_brokers_messages_is_compiled_the_same_way(tmp_path: Path) -> None:
    shutil.copy(parser.FOLDER / "publishes.c", tmp_path)
    assert BUILD(tmp_path, tmp_path / "publishes.so")
    library = open_library(tmp_path / "publishes.so", ctypes.PyDLL)
    assert library is not None
    library.cut_mixed.restype = ctypes.py_object
    assert library.cut_mixed(b"", 0, 4) == ([], [], [], 0)
    (tmp_path / "publishes.c").write_text("/* changed */\n")
    assert open_library(tmp_path / "publishes.so", ctypes.PyDLL) is None
    assert open_library(tmp_path / "no.so", ctypes.PyDLL) is None


def test_what_does_not_compile_replaces_nothing(sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = sources / "kernel.so"
    target.write_bytes(b"the one before")
    (sources / "record.c").write_text("this is no C\n")
    assert not BUILD(sources, target)
    assert target.read_bytes() == b"the one before"
    assert "kernel.so was not compiled" in capsys.readouterr().err


def test_without_a_compiler_nothing_is_built(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(sources))
    assert not BUILD(sources, sources / "kernel.so")
    monkeypatch.setenv("CC", "/no/such/compiler")
    assert not BUILD(sources, sources / "kernel.so")
    monkeypatch.setenv("CARELOOP_NO_NATIVE", "1")
    assert not BUILD(sources, sources / "kernel.so")
    assert not list(sources.glob("kernel*"))


def test_an_engine_runs_without_the_loops() -> None:
    assert not Engine({}, DetectSettings(), compiled=False).is_compiled


@pytest.mark.parametrize("compiler", ["/no/such/compiler", "/bin/true"])
def test_without_sanitizers_there_is_nothing_to_run_and_nothing_wrong(compiler: str) -> None:
    command = [sys.executable, SCRIPTS / "sanitize.py"]
    done = subprocess.run(command, env=os.environ | {"CC": compiler}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "skipped" in done.stdout
