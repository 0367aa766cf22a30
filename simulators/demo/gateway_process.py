"""The gateway as a process of its own: its settings file, its start, its orderly end."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Self

import httpx

from devices.clock import to_datetime
from simulators.api_client import ApiClient, GatewayAddress, GatewayAway
from simulators.command import careloop_command, import_registry, run_careloop

START_WITHIN_S: Final = 90.0
STOP_WITHIN_S: Final = 30.0
ENDPOINT: Final = "sandbox"
"""The name of the sandbox CRM among the gateway's endpoints."""

_RETRIES_S: Final = (0, 0.1, 0.3, 0.5, 1, 1, 2, 2, 3, 3, 5, 5, 5, 5, 5)
"""Days of a real retry schedule, pressed into half a minute."""


@dataclass(frozen=True, slots=True)
class GatewayPlan:
    """What the demo's gateway is told."""

    folder: Path
    start_s: float
    token: str
    crm_url: str
    crm_secret: str
    far_future_s: float = 86400.0  # devices are ahead of the gateway's clock by some steps of the simulated world
    database_url: str = ""  # empty: the embedded one
    poll_s: float = 0.5  # real seconds between looks at what waits for a case
    silent_fixes: bool = False  # whether products are told to mend themselves
    crm_endpoint: str = ""  # the table of the endpoint, up to its schedule, where it is no receiver of webhooks
    more: str = ""  # further settings

    @property
    def config(self) -> Path:
        """The settings file."""
        return self.folder / "careloop.toml"

    @property
    def state(self) -> Path:
        """The state folder."""
        return self.folder / "state"

    @property
    def scorecard(self) -> Path:
        """The demo's report, which the console shows."""
        return self.folder / "scorecard.json"

    def write(self) -> None:
        """Write the settings file; it holds secrets, so only its owner may read it."""
        self.state.mkdir(parents=True, exist_ok=True)
        self.state.chmod(0o711)  # as root, the embedded database runs as somebody else and must reach its data
        self.config.touch(mode=0o600)
        self.config.write_text(self._settings(), encoding="utf-8")

    def _receiver(self) -> str:
        quoted = json.dumps
        return f"""[[crm.endpoints]]
name = {quoted(ENDPOINT)}
url = {quoted(self.crm_url)}
secret = {quoted(self.crm_secret)}
allow_http = true
allow_networks = ["127.0.0.0/8"]
ports = [{httpx.URL(self.crm_url).port}]
"""

    def _settings(self) -> str:
        # One text, long as it is: in pieces it could not be read as the file that it becomes.
        quoted = json.dumps  # a JSON string is a TOML string
        start = to_datetime(self.start_s).isoformat()
        return f"""# A demo's gateway: everything on this machine, the clock held by the simulated world.

[state]
folder = {quoted(str(self.state))}

[database]
url = {quoted(self.database_url)}
embedded = "auto"

[listen]
port = 0

[batch]
max_age = "10ms"

[ingest]
far_future = {self.far_future_s}

[order]
rejudge = false # it takes its time by the real clock, and would make two runs of one seed differ

[clock]
kind = "scaled"
start = {quoted(start)}
speed = 1e9
held = true

[api]
port = 0
token = {quoted(self.token)}

[console]
banner = "This is a demo: products, people and faults are made up."
scorecard = {quoted(str(self.scorecard))}

[trust]
approval_expires = "30d" # the demo's days are short

[commands]
answer_within = "3s" # of real time, in which the world lives a day

[crm]
poll_interval = {self.poll_s}
silent_fixes = {quoted(self.silent_fixes)}

[crm.outreach]
waits_at_most = "30d" # a yes may come days later, which pass in a minute

[crm.outreach.approval]
severities = ["critical", "major"] # so that some contacts wait for a yes
expires_after = "30d"

{self.crm_endpoint or self._receiver()}timeout = 5
schedule = {list(_RETRIES_S)}

[crm.endpoints.breaker]
failures = 8
probe_after = 0.5
probe_at_most = 2

[log]
level = "info"
format = "json"
{self.more}"""


class GatewayProcess:
    """`careloop run` on a plan; use as a context manager."""

    def __init__(self, plan: GatewayPlan) -> None:
        self.plan = plan
        self.log = plan.folder / "gateway.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None
        self._address: GatewayAddress | None = None

    def __enter__(self) -> Self:
        self.launch()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    @property
    def address(self) -> GatewayAddress:
        """Where it is, once it is ready."""
        if self._address is None:
            raise GatewayAway("the gateway is not ready yet")
        return self._address

    def launch(self) -> None:
        """Start it, without waiting for it."""
        self.plan.write()
        self._output = self.log.open("wb")
        self._process = subprocess.Popen(
            [*careloop_command(), "run", "--config", str(self.plan.config)],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours to handle, and the gateway's to be spared
            env={name: value for name, value in os.environ.items() if name != "CARELOOP_CONFIG"},
        )

    def wait_until_ready(self) -> None:
        """Wait until it takes readings. Raises GatewayAway with the end of its log when it does not come up."""
        deadline = time.monotonic() + START_WITHIN_S
        while time.monotonic() < deadline:
            self._fail_if_gone()
            address = GatewayAddress.read(self.plan.state / "gateway.json")
            if address is not None and self._is_mine(address) and self._is_ready(address):
                self._address = address
                return
            time.sleep(0.05)
        raise GatewayAway(f"the gateway was not ready within {START_WITHIN_S:.0f} s\n{self.last_words()}")

    def _is_mine(self, address: GatewayAddress) -> bool:
        """Not an earlier one's, which left its note behind."""
        return self._process is not None and address.pid == self._process.pid

    def _is_ready(self, address: GatewayAddress) -> bool:
        with ApiClient(address.api_url, address.api_token, timeout_s=2.0) as api, contextlib.suppress(GatewayAway):
            return bool(api.readiness().get("ready"))
        return False

    def _fail_if_gone(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            raise GatewayAway(f"the gateway ended with code {self._process.returncode}\n{self.last_words()}")

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._process is not None and self._process.poll() is None

    def last_words(self, lines: int = 12) -> str:
        """The end of its log."""
        try:
            return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    def let_in(self, name: str) -> str:
        """Let somebody sign in as an admin; their password. Raises GatewayAway."""
        password = secrets.token_urlsafe(9)
        options = ["--config", str(self.plan.config)]
        run_careloop(["people", "add", name, "--role", "admin", *options])
        run_careloop(["people", "password", name, "--stdin", *options], f"{password}\n")
        return password

    def import_registry(self, path: Path) -> None:
        """Introduce devices to it, with the command that everyone uses. Raises GatewayAway."""
        import_registry(path, self.plan.config)

    def stop(self) -> None:
        """End it in good order, and by force if it does not."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        if self._output is not None:
            self._output.close()


@contextlib.contextmanager
def scratch_folder(keep: Path | None) -> Generator[Path]:
    """A folder for one run, removed afterwards unless it was named; others may pass through it to what they own."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    folder = Path(tempfile.mkdtemp(prefix="careloop-demo-"))
    folder.chmod(0o711)  # the embedded database may run as somebody else
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
