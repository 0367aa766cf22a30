"""What a diagnosis is made of."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `fix` says what to do when it is not well."""

    what: str
    ok: bool
    says: str
    fix: str = ""


def judge(what: str, says: str, fix: str, *, ok: bool) -> Finding:
    """A finding whose fix is told only where there is something to mend."""
    return Finding(what, ok=ok, says=says, fix="" if ok else fix)
