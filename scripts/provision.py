#!/usr/bin/env python3
"""Puts the services that tests and benchmarks need on this machine, from Debian's packages.

They are TimescaleDB, Mosquitto, and promtool, which checks alert rules.

Nothing is installed: the packages and the libraries that they need are unpacked into a cache, and their programs run
with the unpacked C library, so that Debian 13's TimescaleDB also runs on Debian 12. Packages that are installed
already are used where they are. No root, no compiler. Mirrors are those of this machine's apt sources; only the suite
differs. apt verifies the signatures, with Debian's own keys.

    scripts/provision.py          make sure that everything is there, and say where
"""

import fcntl
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gateway.database.provisioned import Provisioned, cache_folder, find_provisioned

SUITE = "trixie"
ROOTS = ("postgresql-17", "postgresql-17-timescaledb", "mosquitto", "mosquitto-clients")
PROMTOOL = ("promtool", "libc6")
"""Apart from the others, so that a cache of before it gets no more than this."""

LIBRARY = re.compile(r"(lib(?!llvm)|zlib1g)[a-z0-9.+-]*")
"""Of what a package depends on, only libraries are needed to run it; LLVM is for a compiler that stays off."""

KEYRINGS = ("/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp")
RELEASE_LINE = re.compile(r"'(?P<base>[^']+?)/dists/(?P<suite>[^']+?)/InRelease'")


class ProvisionError(Exception):
    """The services cannot be put here; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Apt:
    """An apt with a state of its own: it neither needs root nor knows what is installed."""

    state: Path

    def run(self, program: str, *arguments: str, cwd: Path | None = None) -> str:
        """The output of apt-get or apt-cache. Raises ProvisionError with its own words when it fails."""
        result = subprocess.run(
            [program, *self._options(), *arguments],
            cwd=cwd or self.state,
            env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise ProvisionError(f"{program} {arguments[0]} failed:\n{result.stderr.strip()}")
        return result.stdout

    def use(self, sources: Sequence[str]) -> None:
        """Work with these lines of a sources.list, and fetch their indexes."""
        (self.state / "sources.list").write_text("".join(f"{line}\n" for line in sources))
        self.run("apt-get", "update", "--error-on=any")

    def _options(self) -> list[str]:
        state = self.state
        options = {
            "Dir::State": state / "state",
            "Dir::State::status": state / "status",
            "Dir::Cache": state / "cache",
            "Dir::Etc::SourceList": state / "sources.list",
            "Dir::Etc::SourceParts": "-",
            "Dir::Etc::Preferences": "-",
            "Dir::Etc::PreferencesParts": "-",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "APT::Default-Release": "",
        }
        return [part for name, value in options.items() for part in ("-o", f"{name}={value}")]


def main() -> int:
    """Provision, and say where things are; exit 1 with words when it cannot be done."""
    try:
        found = provision(cache_folder(os.environ))
    except (ProvisionError, OSError) as error:
        print(f"provision: {error}", file=sys.stderr)
        return 1
    print(f"TimescaleDB: {found.postgres_programs}")
    print(f"Mosquitto:   {found.mosquitto}")
    print(f"promtool:    {found.promtool}")
    return 0


def provision(cache: Path) -> Provisioned:
    """What is in the cache, put there first if need be; only one process does so at a time."""
    cache.mkdir(parents=True, exist_ok=True, mode=0o755)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = find_provisioned(cache)
        if found is None:
            found = installed() or unpacked(cache)
            found.save(cache)
        if found.promtool is None or not found.promtool.exists():
            try:
                found = replace(found, promtool=find_promtool(cache))
            except ProvisionError as error:  # one test needs it, and nothing else
                say(f"provision: no promtool: {error}")
            else:
                found.save(cache)
    return found


def installed() -> Provisioned | None:
    """The programs of installed packages, when all of them are."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin"
    programs = Path("/usr/lib/postgresql/17/bin")
    mosquitto = [shutil.which(name, path=path) for name in ("mosquitto", *(f"mosquitto_{x}" for x in CLIENTS))]
    extension = Path("/usr/share/postgresql/17/extension/timescaledb.control")
    if not extension.exists() or not (programs / "postgres").exists() or None in mosquitto:
        return None
    return Provisioned(programs, *(Path(found) for found in mosquitto if found))


CLIENTS = ("pub", "sub", "passwd")


def find_promtool(cache: Path) -> Path:
    """The checker of alert rules: the installed one, else unpacked into the cache."""
    there = shutil.which("promtool")
    if there is not None:
        return Path(there)
    tree = cache / f"promtool-{SUITE}"
    with unpacking(cache, tree, PROMTOOL):
        promtool = tree / "usr/bin/promtool"
        wrap_program(promtool, loader_of(tree))
        said = subprocess.run([promtool, "--version"], capture_output=True, text=True, check=False)
        if said.returncode != 0:
            raise ProvisionError(f"the unpacked promtool does not run: {said.stderr.strip()}")
    return promtool


def unpacked(cache: Path) -> Provisioned:
    """Download the packages and unpack them into the cache, under their final name only when they run."""
    tree = cache / f"debian-{SUITE}"
    with unpacking(cache, tree, ROOTS):
        return wrap(tree)


@contextmanager
def unpacking(cache: Path, tree: Path, roots: Sequence[str]) -> Generator[None]:
    """Unpack packages into a tree, which goes again where the block fails."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise ProvisionError(
                f"{tool} not found. This recipe needs Debian 12 or 13 (or a system made from it); elsewhere install "
                "PostgreSQL 17 with TimescaleDB, and Mosquitto, and describe them in "
                f"{cache / 'services.json'} (see gateway/database/provisioned.py)"
            )
    work = cache / "work"
    for leftover in (work, tree):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        tree.mkdir()
        for package in download(work, roots):
            subprocess.run(["dpkg-deb", "--extract", package, tree], check=True)
        yield
    except BaseException:
        shutil.rmtree(tree, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def download(work: Path, roots: Sequence[str]) -> list[Path]:
    """Fetch packages; with the services, the libraries that they need."""
    for folder in ("state/lists/partial", "cache/archives/partial", "packages"):
        (work / folder).mkdir(parents=True)
    (work / "status").touch()
    apt = Apt(work)
    apt.use(sources(apt))
    size = 40 if roots is ROOTS else 25
    say(f"downloading {', '.join(roots)} of Debian {SUITE}, once ({size} MB)")
    packages = work / "packages"
    apt.run("apt-get", "download", *(closure(apt) if roots is ROOTS else roots), cwd=packages)
    return sorted(packages.glob("*.deb"))


def sources(apt: Apt, wanted: str = SUITE) -> list[str]:
    """Lines for a sources.list: this machine's mirrors with the wanted suite, where Debian's keys have signed it."""
    keyring = next((path for path in KEYRINGS if Path(path).exists()), None)
    if keyring is None:
        raise ProvisionError("Debian's keys are missing: install the package debian-archive-keyring")
    lines: list[str] = []
    problems: list[str] = []
    listed = subprocess.run(["apt-get", "update", "--print-uris"], capture_output=True, text=True, check=False).stdout
    for base, suite in mirrors(listed, os_release().get("VERSION_CODENAME", ""), wanted):
        line = f"deb [signed-by={keyring}] {base} {suite} main"
        try:
            apt.use([line])
        except ProvisionError as error:
            problems.append(str(error))
        else:
            lines.append(line)
    if not any(f" {wanted} " in line for line in lines):
        why = "\n".join(problems) or "no Debian mirror among this machine's apt sources"
        raise ProvisionError(
            f"none of this machine's apt sources serves Debian {wanted}.\n{why}\n"
            "What helps: a Debian mirror in /etc/apt/sources.list, a working network or proxy for apt, "
            "or a newer debian-archive-keyring"
        )
    return lines


def mirrors(listed: str, codename: str, wanted: str = SUITE) -> list[tuple[str, str]]:
    """Every place this machine has its own release from, with the suite to ask for there instead.

    `listed` is what `apt-get update --print-uris` says, which understands every form of apt's sources.
    """
    swaps = {codename: wanted, f"{codename}-security": f"{wanted}-security"}
    found = [(match["base"], match["suite"]) for match in RELEASE_LINE.finditer(listed)]
    return list(dict.fromkeys((base, swaps[suite]) for base, suite in found if suite in swaps))


def os_release() -> dict[str, str]:
    """What the system says it is."""
    lines = Path("/etc/os-release").read_text().splitlines()
    return {name: value.strip('"') for name, _, value in (line.partition("=") for line in lines)}


def closure(apt: Apt, roots: Sequence[str] = ROOTS) -> list[str]:
    """The packages and all libraries that they, and these, depend on."""
    wanted: set[str] = set()
    fresh = set(roots)
    while fresh:
        wanted |= fresh
        fresh = libraries(apt.run("apt-cache", "--no-all-versions", "show", *sorted(fresh))) - wanted
    return sorted(wanted)


def libraries(shown: str) -> set[str]:
    """The libraries that the packages depend on, going by their descriptions; of alternatives the first."""
    depends = re.findall(r"^(?:Pre-)?Depends: (.*)$", shown, re.MULTILINE)
    names = {re.split(r"[\s:(|]", one.strip(), maxsplit=1)[0] for line in depends for one in line.split(",")}
    return {name for name in names if LIBRARY.fullmatch(name)}


def wrap(tree: Path) -> Provisioned:
    """Make every program start with the unpacked C library, and see that it does."""
    programs = tree / "usr/lib/postgresql/17/bin"
    clients = [tree / f"usr/bin/mosquitto_{name}" for name in CLIENTS]
    found = Provisioned(programs, tree / "usr/sbin/mosquitto", *clients)
    loader = loader_of(tree)
    for program in (*sorted(programs.iterdir()), found.mosquitto, *clients):
        if program.read_bytes()[:4] == b"\x7fELF":
            wrap_program(program, loader)
    said = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=False)
    if said.returncode != 0:
        raise ProvisionError(f"the unpacked PostgreSQL does not run: {said.stderr.strip()}")
    return found


def loader_of(tree: Path) -> Path:
    """The unpacked C library's loader."""
    loader = next((path for path in sorted(tree.glob("usr/lib/*/ld-linux-*.so.*"))), None)
    if loader is None:
        raise ProvisionError("the unpacked C library has no loader: this processor is not supported by the recipe")
    return loader


def wrap_program(program: Path, loader: Path) -> None:
    """Replace the program by a script that hands it to the loader, which keeps the system's own libraries out."""
    real = program.with_name(f"{program.name}.real")
    program.rename(real)
    command = f'"{loader}" --inhibit-cache --library-path "{loader.parent}" --argv0 "{program}" "{real}"'
    program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


def say(text: str) -> None:
    """Tell the person at the terminal what takes long."""
    print(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
