"""What `careloop --help` says of each command: to list them, they need not be imported, which takes seconds."""

from collections.abc import Mapping
from typing import Final

SUMMARIES: Final[Mapping[str, str]] = {
    "backtest": "Judge stored history again, with changed watches.",
    "bench": "Measure careloop beside its baselines, in one run.",
    "config": "Check or show the settings.",
    "crm": "CRMs: whether they can be worked with.",
    "deliveries": "Messages to CRMs, and sending them again.",
    "demo": "Run everything on this machine, with a scorecard.",
    "detect": "Find trouble in your own data, without a database.",
    "devices": "Who may connect, whose they are, and their packets.",
    "doctor": "Say what is wrong, and how to mend it.",
    "explain": "Why something was done, or was not.",
    "grants": "What owners allow, and since when.",
    "incidents": "What befell many devices at once.",
    "journey": "From the first sign to the proof that it is gone.",
    "maintenance": "Usage rollups and retention.",
    "migrate": "Apply the schema's pending migrations.",
    "notices": "Alarms that could not become cases, and another try after a fix.",
    "outreach": "Contacts that wait for a yes, and what stops them.",
    "people": "Who may sign in, and what they may do.",
    "playbooks": "What is done about problems, and how often it helps.",
    "quarantine": "What could not be stored, and another try after a fix.",
    "rehearse": "Readings from a pipe to the cases that would come of them.",
    "run": "Run the gateway; Ctrl-C stops it in good order.",
    "simulate": "Play devices or a CRM, against any gateway or broker.",
    "tokens": "What machines call the API with.",
    "watches": "How far each watch is trusted.",
}
"""Each command's own short help, once more; commands of other packages are asked for theirs."""
