#!/usr/bin/env python3
"""Puts Chromium on this machine for the console's tests, from Debian's packages.

An installed one is used where it is. Otherwise the package of this machine's own release is unpacked into the cache of
services with the libraries and fonts that it needs, and starts through a small script that points at them. No root;
apt verifies the signatures, with Debian's own keys. Its own release, for Chromium starts itself again for each of its
processes, which no other C library than the system's survives.

    scripts/provision_chromium.py          make sure that it is there, and say where
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gateway.database.provisioned import cache_folder
from scripts.provision import Apt, ProvisionError, closure, os_release, say, sources

ROOTS: Final = ("chromium", "chromium-common", "fonts-dejavu-core", "fontconfig-config")
NOT_TAKEN: Final = frozenset({"libc6", "libgcc-s1", "libgtk-3-0", "libgtk-3-0t64"})
"""The C library is the system's; nothing here opens a window."""

STARTER: Final = """#!/bin/sh
tree='{tree}'
LD_LIBRARY_PATH="$tree/{libraries}:$tree/{libraries}/nss:$tree/{libraries}/pulseaudio${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"
export LD_LIBRARY_PATH FONTCONFIG_FILE="$tree/fonts.conf"
exec "$tree/usr/lib/chromium/chromium" "$@"
"""

FONTS: Final = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>{tree}/usr/share/fonts</dir>
  <cachedir>{tree}/font-cache</cachedir>
  <alias><family>sans-serif</family><prefer><family>DejaVu Sans</family></prefer></alias>
  <alias><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
</fontconfig>
"""


def main() -> int:
    """Provision, and say where it is; exit 1 with words when it cannot be done."""
    try:
        print(f"Chromium:    {provision(cache_folder(os.environ))}")
    except (ProvisionError, OSError, subprocess.SubprocessError) as error:
        print(f"provision: {error}", file=sys.stderr)
        return 1
    return 0


def find(cache: Path) -> Path | None:
    """Chromium as it is installed, or as it lies in the cache; None where there is none."""
    installed = shutil.which("chromium")
    if installed is not None:
        return Path(installed)
    starter = _tree(cache) / "chromium"
    return starter if starter.exists() else None


def provision(cache: Path) -> Path:
    """The program, put into the cache first if need be; only one process does so at a time."""
    cache.mkdir(parents=True, exist_ok=True, mode=0o755)
    with (cache / "chromium.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return find(cache) or _unpacked(cache)


def _tree(cache: Path) -> Path:
    return cache / f"chromium-{os_release().get('VERSION_CODENAME', 'unknown')}"


def _unpacked(cache: Path) -> Path:
    tree, work = _tree(cache), cache / "chromium-work"
    unfinished = tree.with_name(f"{tree.name}.unfinished")
    for leftover in (work, tree, unfinished):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        unfinished.mkdir()
        for package in _download(work):
            subprocess.run(["dpkg-deb", "--extract", package, unfinished], check=True)
        unfinished.rename(tree)
        starter = _wrap(tree)
    except BaseException:
        shutil.rmtree(tree, ignore_errors=True)
        raise
    finally:
        for leftover in (work, unfinished):
            shutil.rmtree(leftover, ignore_errors=True)
    return starter


def _download(work: Path) -> list[Path]:
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise ProvisionError(f"{tool} not found: on other systems than Debian, install Chromium as `chromium`")
    for folder in ("state/lists/partial", "cache/archives/partial", "packages"):
        (work / folder).mkdir(parents=True)
    (work / "status").touch()
    apt = Apt(work)
    apt.use(sources(apt, os_release().get("VERSION_CODENAME", "")))
    wanted = sorted(set(closure(apt, ROOTS)) - NOT_TAKEN)
    say(f"downloading Chromium and {len(wanted) - 1} packages that it needs, once (150 MB)")
    apt.run("apt-get", "download", *wanted, cwd=work / "packages")
    return sorted((work / "packages").glob("*.deb"))


def _wrap(tree: Path) -> Path:
    libraries = next(path.parent for path in sorted(tree.glob("usr/lib/*/libnss3.so"))).relative_to(tree)
    (tree / "fonts.conf").write_text(FONTS.format(tree=tree))
    (tree / "font-cache").mkdir()
    (tree / "font-cache").chmod(0o1777)
    starter = tree / "chromium"
    starter.write_text(STARTER.format(tree=tree, libraries=libraries))
    starter.chmod(0o755)
    said = subprocess.run([starter, "--version"], capture_output=True, text=True, check=False, timeout=60)
    if said.returncode != 0:
        raise ProvisionError(f"the unpacked Chromium does not run: {said.stderr.strip()}")
    return starter


if __name__ == "__main__":
    sys.exit(main())
