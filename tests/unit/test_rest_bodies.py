"""Bodies that helpdesks want in forms of their own."""

import json
from typing import Any
from urllib.parse import parse_qsl

from crm_sync.adapters.rest.calls import Create
from crm_sync.adapters.rest.request import Origin
from crm_sync.adapters.rest.template import Values


def sent(values: dict[str, Any], **call: Any) -> bytes:
    made = Create.model_validate({"path": "/rest", **call})
    return Origin("https://desk.example.com", {}).request(made, Values(values, {})).body


def test_a_field_of_a_form_may_hold_a_document() -> None:
    document = {
        "operation": "create",
        "fields": {"title": "{title}", "key": "{case_id}", "urgency": 2},
        "none": "{owner_ref}",
    }
    body = {"version": "1.3", "json_data": document}
    values = {"title": 'The "boiler" {is} too & hot\n', "case_id": "case_1", "owner_ref": None}
    form = dict(parse_qsl(sent(values, format="form", body=body, json_fields=["json_data"]).decode()))
    assert form["version"] == "1.3"
    assert json.loads(form["json_data"]) == {
        "operation": "create",
        "fields": {"title": 'The "boiler" {is} too & hot\n', "key": "case_1", "urgency": 2},
        "none": None,
    }


def test_a_field_of_json_may_hold_a_document() -> None:
    told = json.loads(sent({"case_id": "case_1"}, body={"args": ["{case_id}"], "n": 1}, json_fields=["args"]))
    assert told == {"args": '["case_1"]', "n": 1}
