"""What an answer to one call means."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import httpx

from crm_sync.adapters.contract import Outcome, Result
from crm_sync.adapters.http import MAX_RETRY_AFTER_S, Exchange, parse_retry_after_s
from crm_sync.adapters.rest.calls import Call, Listing
from crm_sync.adapters.rest.documents import read_document
from crm_sync.adapters.rest.instants import parse_instant_s
from crm_sync.adapters.rest.spec import ErrorRule
from crm_sync.adapters.rest.template import Json, look_up

_BY_STATUS: Final[Mapping[int, Result]] = {
    401: Result.AUTH,
    403: Result.AUTH,
    408: Result.RETRYABLE,
    409: Result.CONFLICT,
    412: Result.CONFLICT,
    425: Result.RETRYABLE,
    429: Result.RATE_LIMITED,
    503: Result.RETRYABLE,
}
_ON_A_RECORD: Final = frozenset(
    {
        "read",
        "update",
        "link",
        "parent",
        "parent.leave",
        "note",
        "note.find",
        "note.first",
        "note.attach",
        "status",
        "end",
    }
)
RECORD_CLOSED: Final = "record_closed"
"""The code of a rule of a file's: the record is closed for good, and moves no more."""

RECORD_GONE: Final = "record_gone"
"""The code of a record that is there no more: somebody removed it, or merged it into another."""

_NO_RECORD: Final = frozenset({404, 410})
_MALFORMED: Final = frozenset({400, 411, 413, 414, 415, 422, 431})
_SINCE_S: Final = 1e9  # a number above it is an instant since 1970, one below it a wait
_SHOWN: Final = 300  # characters of an answer that a detail repeats


_UNREADABLE: Final = "\x00"  # what no answer is


class CallFailed(Exception):
    """A call did not do what it was made for."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(f"{outcome.code}: {outcome.detail}")
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class Judge:
    """Knows what one helpdesk's answers mean."""

    rules: Sequence[ErrorRule]
    refusal_tries: int  # after so many a 404 of an address is believed
    wait_header: str = ""  # read where there is no Retry-After

    def read(self, name: str, call: Call, exchange: Exchange, now_s: float) -> Json:
        """The answer's JSON, None for an empty one; `name` is the call's table. Raises CallFailed for no success.

        A success is in `call.success`, is JSON or empty, and holds what `call.expect` asks for: proxies and helpdesks
        answer 200 to what they have not done.
        """
        status, text = exchange.status or 0, exchange.body.decode("utf-8", "replace")
        if isinstance(call, Listing) and status in call.nothing:
            return None
        shown = f"{name}: {text[:_SHOWN]}"
        retry_after_s = self._wait_s(exchange.headers, now_s)
        for rule in self.rules:
            if _fits(rule, name, status, text):
                wait_s = rule.retry_after if retry_after_s is None else retry_after_s
                raise CallFailed(Outcome(rule.means, rule.code, shown, status=status, retry_after_s=wait_s))
        answer = _told(call, exchange.body)
        if httpx.codes.is_success(status) and answer is _UNREADABLE:  # a proxy's page, whatever its status
            raise CallFailed(
                Outcome(
                    in_doubt(call),
                    f"not_{call.answers}",
                    shown,
                    status=status,
                )
            )
        if status not in call.success:
            result, code, tries = self._by_status(name, call, status)
            raise CallFailed(Outcome(result, code, shown, status=status, retry_after_s=retry_after_s, tries=tries))
        answer = None if answer is _UNREADABLE else answer
        if call.expect is not None and not look_up(call.expect, answer):
            raise CallFailed(Outcome(Result.PERMANENT, "refused", shown, field=call.expect, status=status))
        return answer

    def _wait_s(self, headers: Mapping[str, str], now_s: float) -> float | None:
        """How long the other side asks to be left alone; None where it does not say."""
        asked_s = parse_retry_after_s(headers.get("retry-after"), now_s)
        told = headers.get(self.wait_header.lower()) if self.wait_header else None
        if asked_s is not None or told is None:
            return asked_s
        at_s = parse_instant_s(told)
        if at_s is None or at_s < _SINCE_S:  # seconds
            return parse_retry_after_s(told, now_s)
        return min(max(at_s - now_s, 0.0), MAX_RETRY_AFTER_S)

    def _by_status(self, name: str, call: Call, status: int) -> tuple[Result, str, int | None]:
        if status in _NO_RECORD and name in _ON_A_RECORD:
            return Result.PERMANENT, RECORD_GONE, None
        code = f"http_{status}"
        if status in _BY_STATUS:
            return _BY_STATUS[status], code, None
        if httpx.codes.is_server_error(status):
            return in_doubt(call), code, None
        return Result.PERMANENT, code, None if status in _MALFORMED else self.refusal_tries


def in_doubt(call: Call) -> Result:
    """What is known of a call without a believable answer: asking again does no harm, saying again may."""
    return Result.RETRYABLE if call.only_asks else Result.UNKNOWN


def _told(call: Call, body: bytes) -> Json:
    """What an answer says, None for an empty one."""
    try:
        return read_document(call.answers, body)
    except ValueError:
        return _UNREADABLE


def _fits(rule: ErrorRule, name: str, status: int, text: str) -> bool:
    return (
        (not rule.status or status in rule.status)
        and (not rule.on or name.partition("[")[0] in rule.on)
        and (not rule.body or re.search(rule.body, text) is not None)
    )
