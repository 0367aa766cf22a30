"""The API's document says of every field and every parameter what it is."""

import re
from dataclasses import fields
from typing import Any
from unittest.mock import MagicMock

import pytest

from crm_sync.settings import CrmSettings
from gateway.api.app import ApiParts, build_api
from gateway.api.openapi_fields import FIELDS
from gateway.settings import ApiSettings


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """As `/openapi.json` has it; nothing of the gateway is asked for it."""
    parts: dict[str, Any] = {each.name: MagicMock() for each in fields(ApiParts)}
    parts |= {"settings": ApiSettings(), "crm": CrmSettings()}
    return build_api(ApiParts(**parts)).openapi()


def fields_of(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (name, field): known
        for name, schema in document["components"]["schemas"].items()
        for field, known in schema.get("properties", {}).items()
    }


def parameters_of(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (path, parameter["name"]): parameter
        for path, item in document["paths"].items()
        for operation in item.values()
        for parameter in operation.get("parameters", [])
    }


def test_every_field_and_parameter_is_described(document: dict[str, Any]) -> None:
    told = {**fields_of(document), **parameters_of(document)}
    assert len(told) > 500
    assert sorted(name for name, each in told.items() if not each.get("description", "").strip()) == []


def test_spans_name_their_unit(document: dict[str, Any]) -> None:
    silent = [
        name
        for name, each in fields_of(document).items()
        if name[1].endswith("_s") and not re.search(r"\bseconds?\b", each["description"], re.IGNORECASE)
    ]
    assert silent == []


def test_nothing_is_told_of_what_is_not_there(document: dict[str, Any]) -> None:
    known = {*fields_of(document), *parameters_of(document)}
    names = {field for _, field in known}
    unused = [each for each in FIELDS if each not in names and tuple(each.rsplit(".", 1)) not in known]
    assert unused == []
