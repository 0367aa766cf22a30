"""When a watch is promoted or demoted: by its precision in its present mode, and never on a whim.

```
shadow ──▶ approve ──▶ auto        promoted: the interval's lower end has come up to `promote_above`
   ◀──        ◀──                  demoted: its upper end has fallen below `demote_below`, or `silence_below`
```

Only outcomes since the mode began count, and there must be enough of them: what moved a watch once
does not move it again. The ends of the interval lie between the rules, so that no outcome can call for both.
"""

from dataclasses import dataclass

from crm_sync.trust.precision import Precision
from crm_sync.trust.settings import TrustSettings
from devices.profiles.model import WatchMode


@dataclass(frozen=True, slots=True)
class Change:
    """A watch's new mode, and why."""

    mode: WatchMode
    why: str


def judge_mode(mode: WatchMode, since: Precision, settings: TrustSettings) -> Change | None:
    """What the rule says to a watch's outcomes since its mode began; None to leave it where it is."""
    if since.mean is None or since.outcomes < settings.outcomes:
        return None
    low, high = settings.promote_above, settings.demote_below
    if mode is not WatchMode.AUTO and since.low >= low:
        up = WatchMode.AUTO if mode is WatchMode.APPROVE else WatchMode.APPROVE
        return Change(up, f"{_say(since, settings)}: its lower end is at least {low:.0%}")
    if mode is WatchMode.AUTO and since.high < high:
        return Change(WatchMode.APPROVE, f"{_say(since, settings)}: its upper end is below {high:.0%}")
    if mode is WatchMode.APPROVE and since.high < settings.silence_below:
        return Change(WatchMode.SHADOW, f"{_say(since, settings)}: its upper end is below {settings.silence_below:.0%}")
    return None


def _say(since: Precision, settings: TrustSettings) -> str:
    return (
        f"right in {since.right:g} of {since.outcomes:g} outcomes in this mode, {since.low:.0%} to {since.high:.0%}"
        f" with {settings.confidence:.0%} confidence"
    )
