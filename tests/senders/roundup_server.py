"""Roundup on a port of the loopback address, with a field for the case's id, and a user for careloop.

    roundup_server.py FOLDER PORT

It says "ready" on standard output when its tracker is made, and serves soon after.
"""

import subprocess
import sys
from pathlib import Path

from roundup.scripts import roundup_server

FOLDER, PORT = Path(sys.argv[1]), sys.argv[2]
BIN = Path(sys.executable).parent
HOME = FOLDER / "tracker"


def admin(*words: str, said: str = "") -> None:
    """Have the tracker's own tool do something."""
    command = [BIN / "roundup-admin", "-i", HOME, *words]
    subprocess.run(command, check=True, input=said, text=True, stdout=subprocess.DEVNULL)


def replace(file: Path, *changes: tuple[str, str]) -> None:
    """Change a file that the tool has made."""
    text = file.read_text()
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after)
    file.write_text(text)


def furnish() -> None:
    """Make the tracker, and what a company would set up by hand."""
    admin("install", "classic", "sqlite")
    answers = {"web": f"http://127.0.0.1:{PORT}/t/", "domain": "example.com", "host": "localhost"}
    replace(HOME / "config.ini", *((f"\n#{name} = NO DEFAULT", f"\n{name} = {text}") for name, text in answers.items()))
    fields = 'assignedto=Link("user"), careloop_case=String(), careloop_brief=String(),'
    replace(HOME / "schema.py", ('assignedto=Link("user"),', fields))
    admin("initialise", "pass-of-admin", said="y\n")
    user = {"username": "careloop", "password": "pass-of-careloop", "roles": "User", "address": "careloop@example.com"}
    admin("create", "user", *(f"{name}={text}" for name, text in user.items()))


def main() -> None:
    """Serve until killed."""
    furnish()
    # It refuses to serve as root, which in a container everybody is; another account could not read this environment.
    roundup_server.setuid = lambda _user: None
    sys.argv = ["roundup-server", "-t", "thread", "-p", PORT, "-n", "127.0.0.1", f"t={HOME}"]
    print("ready", flush=True)
    roundup_server.run()


if __name__ == "__main__":
    main()
