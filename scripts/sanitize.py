"""Run the tests of the compiled loops under the address and undefined-behaviour sanitizers.

    python scripts/sanitize.py [tests, in place of those below] [options of pytest]

It works on a copy of the packages and the tests: the libraries of this checkout stay as they are. A compiler without
the sanitizers, or none, is told, and is no failure.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from build_native import LIBRARIES, build, find_compiler

ROOT: Final = Path(__file__).parents[1]
COPIED: Final = ("devices", "crm_sync", "gateway", "simulators", "tests", "docs", "pyproject.toml")
TESTS: Final = (
    "tests/property/test_detect_native.py",
    "tests/property/test_detect_splits.py",
    "tests/property/test_detect_event_splits.py",
    "tests/property/test_columns_agree.py",
    "tests/property/test_codec_hostile.py",
    "tests/property/test_copy_encoders_agree.py",
    "tests/property/test_mqtt_broker_stream.py",
    "tests/property/test_mqtt_stream.py",
)
"""Those that hold every loop against what Python makes of the same."""

FLAGS: Final = (
    "-fsanitize=address,undefined,float-cast-overflow",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
    "-g",
    "-O1",
)
OPTIONS: Final = {
    "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",  # the interpreter itself keeps what it has until it ends
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "PYTHONMALLOC": "malloc",  # each object with an end of its own, beyond which nothing may be looked at
}
OVERRUN: Final = """
const char *sources(void) { return SOURCES; }
__attribute__((visibility("default"))) int beyond(const char *text, int at) { return text[at]; }
"""
"""What the sanitizers must catch, or they are not at work."""


@dataclass(frozen=True, slots=True)
class Sanitizers:
    """What a compiler has of them."""

    runtime: Path  # to be there before the interpreter's first allocation
    flags: tuple[str, ...]

    @property
    def environment(self) -> dict[str, str]:
        """For a process whose libraries were compiled with the flags."""
        return {**os.environ, **OPTIONS, "LD_PRELOAD": str(self.runtime)}


def main(arguments: Sequence[str]) -> int:
    """Compile a copy, and run its tests."""
    found = _find()
    if found is None:
        print("sanitize: skipped, for there is no C compiler with the sanitizers here (Debian: gcc and libc6-dev)")
        return 0
    with tempfile.TemporaryDirectory(prefix="careloop-sanitize-") as name:
        copy = Path(name)
        if not _catches(found, copy):
            print("sanitize: skipped, for the sanitizers do not work with this interpreter")
            return 0
        _copy_to(copy)
        if not all(build((copy / library).parent, copy / library, found.flags) for library in LIBRARIES):
            return 1
        # What the sanitizers report goes past Python, and what is captured so is lost with the process.
        quiet = ("-p", "no:cacheprovider", "-q", "--capture=sys")
        command = [sys.executable, "-m", "pytest", *quiet, *_chosen(arguments)]
        return subprocess.run(
            command, cwd=copy, env={**found.environment, "PYTHONPATH": name}, check=False, timeout=3600
        ).returncode


def _chosen(arguments: Sequence[str]) -> list[str]:
    """What pytest is told: options are added to the tests, and only tests that are named replace them."""
    is_named = any((ROOT / each.split("::")[0]).exists() for each in arguments if not each.startswith("-"))
    return [*arguments] if is_named else [*TESTS, *arguments]


def _find() -> Sanitizers | None:
    clang = ("libclang_rt.asan.so", f"libclang_rt.asan-{platform.machine()}.so")
    for name, more in (("libasan.so", ()), *((name, ("-shared-libasan",)) for name in clang)):
        runtime = _file_of_compiler(name)
        if runtime is not None:
            return Sanitizers(runtime, (*FLAGS, *more))
    return None


def _file_of_compiler(name: str) -> Path | None:
    compiler = find_compiler()
    if not compiler:
        return None
    try:
        asked = [*compiler, f"-print-file-name={name}"]
        told = Path(subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60).stdout.strip())
    except OSError:
        return None
    return told.resolve() if told.is_absolute() and told.exists() else None  # else it only says the name again


def _catches(found: Sanitizers, folder: Path) -> bool:
    """Whether a look beyond the end of a text is caught."""
    trial = folder / "trial"
    trial.mkdir()
    (trial / "overrun.c").write_text(OVERRUN)
    library = trial / "overrun.so"
    if not build(trial, library, found.flags):
        return False
    program = f"import ctypes; ctypes.CDLL({str(library)!r}).beyond(ctypes.create_string_buffer(1000), 1008)"
    done = subprocess.run(
        [sys.executable, "-c", program], env=found.environment, capture_output=True, text=True, check=False, timeout=60
    )
    return "AddressSanitizer" in done.stderr and done.returncode != 0


def _copy_to(folder: Path) -> None:
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        else:
            shutil.copy(ROOT / name, folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
