"""What a process that a gateway starts is told first, through its standard input.

That first word is in Python's own form, since it never leaves this machine, this user and this version, with its length
before it, for the pipe stays open behind it. No secret in it stands in a command line or an environment.
"""

import os
import pickle
import sys
from collections.abc import Callable
from importlib import import_module
from io import FileIO
from typing import Final, TypeVar

from gateway.garbage import collect_seldom, collecting_nothing

Word = TypeVar("Word")

_SIZE_BYTES: Final = 8


def command_of(module: str) -> tuple[str, ...]:
    """What starts the `main` of a module in a process of its own."""
    return sys.executable, "-P", "-m", "gateway.child_process", module


def encode_first(word: object) -> bytes:
    """What the gateway writes first."""
    body = pickle.dumps(word)
    return len(body).to_bytes(_SIZE_BYTES) + body


def read_first(said: FileIO, kind: type[Word]) -> Word:
    """The first word, which has to be of that kind; the process ends where it is not, or never comes."""
    word = pickle.loads(_take(said, int.from_bytes(_take(said, _SIZE_BYTES))))  # noqa: S301 - the gateway's own
    if not isinstance(word, kind):
        sys.exit("this process is started by careloop run")
    return word


def _take(said: FileIO, count: int) -> bytes:
    taken = b""
    while len(taken) < count:
        more = said.read(count - len(taken))
        if not more:
            sys.exit("this process is started by careloop run")
        taken += more
    return taken


def take_input() -> FileIO:
    """Standard input, not through `sys.stdin`: a thread that waits in its buffer while Python ends is a fatal error."""
    return os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)


def take_output() -> FileIO:
    """Standard output, for answers only: what else is printed goes to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def main() -> None:
    """Become the process that the command line names; imports are slower where the collector looks through them."""
    collect_seldom()
    with collecting_nothing():
        become: Callable[[], None] = import_module(sys.argv[1]).main
    become()


if __name__ == "__main__":
    main()
