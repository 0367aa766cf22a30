"""The API's document says of every field and every parameter what it is."""

import re
from dataclasses import fields
from typing import Any
from unittest.mock import MagicMock

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from crm_sync.settings import CrmSettings
from gateway.api.app import ApiParts, build_api
from gateway.api.openapi_fields import FIELDS
from gateway.settings import ApiSettings


@pytest.fixture(scope="module")
def api() -> FastAPI:
    parts: dict[str, Any] = {each.name: MagicMock() for each in fields(ApiParts)}
    parts |= {"settings": ApiSettings(), "crm": CrmSettings()}
    return build_api(ApiParts(**parts))


@pytest.fixture(scope="module")
def document(api: FastAPI) -> dict[str, Any]:
    """As `/openapi.json` has it; nothing of the gateway is asked for it."""
    return api.openapi()


def test_every_call_stands_in_the_application_itself(api: FastAPI, document: dict[str, Any]) -> None:
    """One of an included router would be built again, at the first request."""
    built = {route.path for route in api.routes if isinstance(route, APIRoute) and route.include_in_schema}
    assert built == set(document["paths"])


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
