"""Compile the loops of detectors, codec and doors, where there is a C compiler.

Run by hatchling when careloop is installed or built, and by hand after a change to the sources:

    python scripts/build_native.py

Without a compiler, or with CARELOOP_NO_NATIVE set, nothing is built: everything then runs as NumPy and Python, with the
same findings.
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_ROOT: Final = Path(__file__).parents[1]
LIBRARIES: Final = (
    "devices/payloads/native/readings.so",
    "gateway/detect/native/kernel.so",
    "gateway/doors/mqtt/native/publishes.so",
    "gateway/store/native/rows.so",
)
"""Each is made of the sources in its folder."""

# No contraction: a multiplication and an addition that are rounded once would not be what Python makes of them.
FLAGS: Final = (
    "-std=c11",
    "-O3",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fPIC",
    "-shared",
    "-ffp-contract=off",
    "-fvisibility=hidden",
    *(("-undefined", "dynamic_lookup") if sys.platform == "darwin" else ()),  # what the interpreter itself has
)


def build_all() -> bool:
    """Compile everything; False where that is not possible."""
    made = [build((_ROOT / library).parent, _ROOT / library) for library in LIBRARIES]
    return all(made)


def build(folder: Path, target: Path, more: Sequence[str] = ()) -> bool:
    """Compile the sources in a folder, with these options besides; False where that is not possible."""
    compiler = find_compiler()
    if os.environ.get("CARELOOP_NO_NATIVE") or not compiler:
        return False
    fresh = target.with_suffix(f".{os.getpid()}.tmp")  # put in place at once: a running gateway keeps the old one
    sources = [str(path) for path in sorted(folder.glob("*.c"))]
    command = [*compiler, *FLAGS, *more, f'-DSOURCES="{fingerprint(folder)}"', "-o", str(fresh), *sources, "-lm"]
    try:
        made = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
        if made.returncode:
            sys.stderr.write(f"careloop: {target.name} was not compiled\n{made.stderr[-2000:]}\n")
            return False
        fresh.replace(target)
    except (OSError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"careloop: {target.name} was not compiled: {error}\n")
        return False
    finally:
        fresh.unlink(missing_ok=True)
    return True


def find_compiler() -> list[str]:
    """The command, with the options that `CC` may give it; empty if there is none."""
    found = (shutil.which(name) for name in ("cc", "gcc", "clang"))
    return shlex.split(os.environ.get("CC", "")) or [path for path in found if path][:1]


def fingerprint(folder: Path) -> str:
    """Names the sources in a folder, as devices/native_library.py does."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted([*folder.glob("*.c"), *folder.glob("*.h")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


class NativeHook(BuildHookInterface[BuilderConfig]):
    """Compiles before a wheel is packed or an editable installation is made."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Put the library into the wheel, which is then one for this platform."""
        if self.target_name != "wheel" or not build_all():
            return
        build_data["artifacts"] += LIBRARIES
        if version != "editable":
            build_data["pure_python"] = False
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["tag"] = f"py3-none-{platform}"


if __name__ == "__main__":
    sys.exit(0 if build_all() else 1)
