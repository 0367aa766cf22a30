"""What differs from account to account, put into a helpdesk's file before it is read.

``{account.name}`` may stand in every text of the file, also where no other place may: in paths into answers, in the
names of fields. The file's own table ``[account]`` has the usual values, the endpoint's settings have its own.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote, quote_plus

from crm_sync.adapters.rest.spec import Spec, parse_spec, read_table
from crm_sync.settings import EndpointSettings
from devices.errors import ConfigError, Fault

_PLACE: Final = re.compile(r"\{account\.([a-z_][a-z0-9_]*)\}")

_SECRET: Final = re.compile(
    r"(?i)token|secret|pass(word|wd|phrase)|credential|(api|app|access|private|subscription)_?key"
)
_NO_SECRET: Final = re.compile(r"(?i)_(field|property|name|file|header|path|type|url)$")  # only says where one is
_SHORTEST: Final = 4
"""Shorter texts stand everywhere: nobody could read what was left without them."""

Values = Mapping[str, str | int]


def says_secret(name: str) -> bool:
    """Whether a value of this name is one that nobody is to read."""
    return _SECRET.search(name) is not None and _NO_SECRET.search(name) is None


def secrets_of(values: Values) -> list[str]:
    """Those of an account's values that nobody is to read, as they are and as addresses and JSON have them."""
    plain = [str(value) for name, value in values.items() if says_secret(name) and len(str(value)) >= _SHORTEST]
    in_json = [json.dumps(each, ensure_ascii=short)[1:-1] for each in plain for short in (False, True)]
    in_addresses = [how(each, safe="") for each in plain for how in (quote, quote_plus)]
    return list(dict.fromkeys([*plain, *in_json, *in_addresses]))


def read_spec(settings: EndpointSettings, own: Path | None = None) -> Spec:
    """The file of an endpoint; one that careloop brings is its `own`, over which the endpoint's may be laid.

    Raises ConfigError naming every fault.
    """
    given = Path(settings.spec_file) if settings.spec_file else None
    path = given or own
    if path is None:
        where = f"crm.endpoints.{settings.name}.spec_file"
        raise ConfigError([Fault(where, "nothing", "the TOML file that describes the helpdesk")])
    table = read_table(own or path)
    if own is not None and given is not None:
        table = _laid_over(table, read_table(given))
    account = _account(settings, cast("Values", table.get("account", {})))
    try:
        settled = _settled(table, account)
    except KeyError as error:
        known = ", ".join(sorted(account))
        raise ConfigError([Fault(path.name, f"{{account.{error.args[0]}}}", f"one of {known}")]) from None
    return parse_spec(cast("dict[str, Any]", settled), path.name)


def _account(settings: EndpointSettings, usual: Values) -> Values:
    """The account's values. Raises ConfigError."""
    where = f"crm.endpoints.{settings.name}.account"
    known = ", ".join(sorted(usual)) or "this helpdesk's file has no [account]"
    strange = [Fault(f"{where}.{name}", name, known) for name in settings.account if name not in usual]
    if strange:
        raise ConfigError(strange)
    return {**usual, **settings.account, "url": settings.url.rstrip("/")}


def _laid_over(under: Any, over: Any) -> Any:
    """Tables joined, the upper one's values in place of the lower one's."""
    if not isinstance(under, dict) or not isinstance(over, dict):
        return over
    lower, upper = cast("dict[str, Any]", under), cast("dict[str, Any]", over)
    return {**lower, **{name: _laid_over(lower.get(name), value) for name, value in upper.items()}}


def _settled(value: Any, account: Values) -> Any:
    """A value with the account's in their places; a text that is one place keeps that value's type."""
    if isinstance(value, str):
        whole = _PLACE.fullmatch(value)
        return account[whole[1]] if whole else _PLACE.sub(lambda place: str(account[place[1]]), value)
    if isinstance(value, dict):
        table = cast("dict[str, Any]", value)
        return {str(_settled(name, account)): _settled(inner, account) for name, inner in table.items()}
    if isinstance(value, list):
        return [_settled(inner, account) for inner in cast("list[Any]", value)]
    return value
