"""The API as its own document describes it: asked what nobody thought of, and by a client that read nothing else."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final
from urllib.parse import parse_qsl

import httpx
import jsonschema_rs
import psycopg
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from psycopg import sql
from schemathesis.core.failures import FailureGroup

from gateway.api.openapi_words import EXAMPLES as BODIES
from gateway.bench.page_calls import API_CALLS
from gateway.database.postmaster import wait_until
from gateway.people.model import Role
from gateway.people.people import digest_of
from tests.services.case_world import notice, open_world
from tests.services.gateway import GatewayProcess
from tests.services.in_the_clear import IN_THE_CLEAR
from tests.services.patience import PATIENCE_S

ENDLESS: Final = ("/v1/events", "/v1/devices/{device_id}/tail")
LIBRARY: Final[Any] = schemathesis  # whose types say less than its documents
CHECKS: Final = [
    LIBRARY.checks.not_a_server_error,
    LIBRARY.checks.status_code_conformance,
    LIBRARY.checks.content_type_conformance,
    LIBRARY.checks.response_schema_conformance,
]
EXAMPLES: Final = 3  # of each call; the same ones in every run


@dataclass(frozen=True, slots=True)
class Site:
    """A gateway with a case in it, and what it says of itself."""

    url: str
    headers: dict[str, str]
    document: dict[str, Any]
    known: dict[str, str]  # path parameters that lead somewhere
    gateway: GatewayProcess

    def client(self) -> httpx.Client:
        """Somebody with the settings' own token."""
        return httpx.Client(base_url=self.url, headers=self.headers, verify=IN_THE_CLEAR, timeout=PATIENCE_S)


@pytest.fixture(scope="module")
def site(service_folder: Path, prepared_database: Path) -> Iterator[Site]:
    gateway = GatewayProcess(Path(mkdtemp(prefix="api-", dir=service_folder)), prepared_database)
    gateway.configure("[people]\nrequests_burst = 100000\n")
    try:
        gateway.start()
        asyncio.run(put_a_case(gateway.database_url))
        assert wait_until(lambda: bool(gateway.query("SELECT FROM service_case")), PATIENCE_S)
        url, token = gateway.address["api_url"], gateway.address["api_token"]
        ((case_id, device_id),) = gateway.query("SELECT case_id, device_id FROM service_case")
        known = {"case_id": case_id, "device_id": device_id, "owner_ref": "own-1", "watch": "boiler-too-hot"}
        known |= {"alarm_id": notice().alarm_id, "model": "coffee-machine", "name": "admin", "kind": "complaint"}
        document = httpx.get(f"{url}/openapi.json", verify=IN_THE_CLEAR, timeout=PATIENCE_S).json()
        yield Site(url, {"Authorization": f"Bearer {token}"}, document, known, gateway)
    finally:
        gateway.remove()


async def put_a_case(url: str) -> None:
    """An owner's coffee machine gets too hot."""
    async with open_world(url) as world:
        await world.put(notice())


def test_nothing_that_is_asked_breaks_it_or_its_word(site: Site) -> None:
    """Each call with valid and with nonsensical values: never a 5xx of its own, always what the document says."""
    schema: Any = LIBRARY.openapi.from_dict(site.document)
    asked, faults = 0, list[str]()
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path in ENDLESS:
            continue
        for mode in LIBRARY.GenerationMode:

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(
                max_examples=EXAMPLES,
                derandomize=True,
                database=None,
                deadline=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
            )
            def ask(case: Any) -> None:
                nonlocal asked
                path_parameters: dict[str, Any] = case.path_parameters or {}
                case.path_parameters = {name: site.known.get(name, value) for name, value in path_parameters.items()}
                case.call_and_validate(base_url=site.url, headers=site.headers, checks=CHECKS, timeout=PATIENCE_S)
                asked += 1

            try:
                ask()
            except Unsatisfiable:
                continue  # nothing about this call can be wrong
            except FailureGroup as error:
                faults.append(f"{operation.label}: {error}: {error.exceptions}")
    assert not faults, "\n".join(faults)
    assert asked > 200


def test_a_client_made_from_the_document_alone_works_a_case(site: Site) -> None:
    """Finds the calls by their tags and summaries, follows its cursors, ETags and schemas; knows nothing else."""
    paths = site.document["paths"]

    def call_of(tag: str, method: str, ending: str) -> str:
        (found,) = [
            path
            for path, item in paths.items()
            if method in item and tag in item[method].get("tags", []) and path.endswith(ending)
        ]
        return str(found)

    with site.client() as client:
        listed = client.get(call_of("cases", "get", "/cases"), params={"limit": 1}).json()
        (case,) = listed["items"]
        assert set(required_of(site.document, "Case")) <= case.keys()
        path = call_of("cases", "get", "/{case_id}").format(case_id=case["case_id"])
        read = client.get(path)
        body = example_of(site.document, paths[call_of("cases", "post", "/note")]["post"])
        headers = {"If-Match": read.headers["ETag"], "Idempotency-Key": "from-the-document"}
        done = client.post(f"{path}/note", json=body, headers=headers)
        assert done.status_code == 200, done.text
        again = client.post(f"{path}/note", json=body, headers=headers)
        assert again.json() == done.json()
        stale = client.post(f"{path}/note", json=body, headers={"If-Match": read.headers["ETag"]})
        assert stale.json().keys() >= set(required_of(site.document, "Problem"))
        assert stale.status_code == 412


def test_every_call_below_v1_says_how_one_signs_in(site: Site) -> None:
    for path, item in site.document["paths"].items():
        for method, operation in item.items():
            is_open = path.startswith(("/healthz", "/readyz", "/v1/callbacks/", "/v1/session/oidc"))
            is_open |= (path, method) == ("/v1/session", "post")
            assert is_open != bool(operation["security"]), path
            assert re.match(r"\S", operation.get("description", operation["summary"])), path
            if path.startswith("/v1/") and not is_open:
                bare = httpx.request(
                    method, site.url + re.sub(r"\{.*?\}", "1", path), verify=IN_THE_CLEAR, timeout=PATIENCE_S
                )
                assert bare.status_code in {401, 422}, (method, path)


def test_the_document_names_calls_roles_and_headers_as_they_are(site: Site) -> None:
    operations = [(path, *each) for path, item in site.document["paths"].items() for each in item.items()]
    names = [operation["operationId"] for _, _, operation in operations]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in names), names
    assert {tag for _, _, each in operations for tag in each["tags"]} == {tag["name"] for tag in site.document["tags"]}
    assert [name for name in site.document["components"]["schemas"] if not re.match(r"[A-Za-z]+\b", name)] == []
    for path, method, operation in operations:
        if method != "get" and path.startswith("/v1/") and not path.startswith(("/v1/callbacks/", "/v1/session")):
            assert operation["x-careloop-role"] == role_for(path), path
            assert {"session": [], "csrf": []} in operation["security"], path
    for path in ("/v1/people", "/v1/people/{name}/password", "/v1/tokens", "/v1/devices/{device_id}/credentials"):
        assert "204" in site.document["paths"][path]["post"]["responses"], path  # a secret is given once
    with site.client() as client:
        nobody, readings = {"Authorization": "Bearer nobody"}, {"model": "coffee-machine"}
        for path, params, headers in (
            ("/v1/cases/{case_id}", {}, {}),
            ("/v1/cases/{case_id}", {}, nobody),
            ("/v1/export/readings", readings, {}),
            ("/v1/export/readings", {**readings, "format": "parquet"}, {}),
            ("/metrics", {}, {}),
        ):
            answer = client.get(path.format(**site.known), params=params, headers=headers)
            said = site.document["paths"][path]["get"]["responses"].get(str(answer.status_code), {})
            assert answer.headers["content-type"].partition(";")[0] in said["content"], (path, answer.text)
            told = {"etag", "content-disposition", "www-authenticate", "retry-after"} & set(answer.headers.keys())
            assert told <= {name.lower() for name in said.get("headers", {})}, path


def test_each_example_is_one_that_its_schema_takes(site: Site) -> None:
    schemas: dict[str, Any] = site.document["components"]["schemas"]
    examples = [(name, each) for name, schema in schemas.items() for each in schema.get("examples", [])]
    assert set(BODIES) == {name for name, _ in examples}
    for name, example in examples:
        schema = {"$ref": f"#/components/schemas/{name}", "components": site.document["components"]}
        jsonschema_rs.validate(schema, example)


def test_the_last_page_is_the_one_without_a_next_even_where_it_is_full(site: Site) -> None:
    put_real(site, "paged")
    full = 0
    with site.client() as client:
        for path, item in site.document["paths"].items():
            operation = item.get("get", {})
            if path == "/v1/audit" or "cursor" not in {each["name"] for each in operation.get("parameters", ())}:
                continue
            asked = path.format(**site.known, incident_id="inc_paged")
            items = client.get(asked, params={"limit": 900}).json()["items"]
            if items:
                last = client.get(asked, params={"limit": len(items)}).json()
                assert (len(last["items"]), last["next"]) == (len(items), None), path
                full += 1
    assert full > 5


def test_what_a_list_may_be_filtered_by_is_what_it_then_has(site: Site) -> None:
    put_real(site, "filtered")
    tried = set[str]()
    with site.client() as client:
        for path, item in site.document["paths"].items():
            operation = item.get("get", {})
            names = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"}
            if path == "/v1/audit" or "{" in path or "cursor" not in names:
                continue
            items = client.get(path).json()["items"]
            told = [(name, each[name]) for each in items for name in names & each.keys() if each[name] is not None]
            for name, value in dict(told).items():
                found = client.get(path, params={name: value}).json()["items"]
                assert {each[name] for each in found} == {value}, (path, name)
                other = client.get(path, params={name: "nothing-like-this"})
                assert other.status_code == 422 or other.json()["items"] == [], (path, name)
                tried.add(f"{path} {name}")
    assert {"/v1/devices model", "/v1/cases severity", "/v1/cases team", "/v1/deliveries endpoint"} <= tried, tried


TABLES: Final = (
    "alarm", "case_alarm", "service_case", "case_transition", "case_verdict", "quiet_alarm", "planned_work",
    "grant_record", "owner", "watch_trust", "quarantine", "outbox_message", "person", "api_token", "device_command",
    "incident",
)  # fmt: skip


def state_of(gateway: GatewayProcess, tenant_id: str) -> dict[str, Any]:
    """Everything of a tenant that a call could change."""
    query = sql.SQL("SELECT count(*), md5(string_agg(t::text, '' ORDER BY t::text)) FROM {} t WHERE tenant_id = {}")
    return {name: gateway.query(query.format(sql.Identifier(name), sql.Literal(tenant_id))) for name in TABLES}


REAL: Final = """
WITH stream AS (
    INSERT INTO outbox_stream (tenant_id, endpoint, stream_key) VALUES ('default', 'desk', %(name)s) RETURNING stream_id
), message AS (
    INSERT INTO outbox_message (message_id, tenant_id, stream_id, seq, type, body, state)
    SELECT 'msg_' || %(name)s, 'default', stream_id, 1, 'case.opened', '{}', 'dead' FROM stream
), command AS (
    INSERT INTO device_command (command_id, tenant_id, device_id, name, data, issued_by, state, issued_at, expires_at)
    VALUES ('cmd_' || %(name)s, 'default', %(device_id)s, %(name)s, '{}', 'person:x', 'done', now(), '2199-01-01')
), incident AS (
    INSERT INTO incident (incident_id, tenant_id, kind, problems, severity, title, says, evidence, state, started_at,
                          known_at, ended_at, updated_at)
    VALUES ('inc_' || %(name)s, 'default', 'fleet_dip', '{}', 'minor', '', '', '[]', 'ended', now(), now(), now(),
            now())
), quiet AS (
    INSERT INTO quiet_alarm (tenant_id, kind, device_id, starts_at, ends_at, created_at, actor, why)
    VALUES ('default', 'silence', 'nobody', now(), now() + interval '1 day', now(), 'person:x', 'x') RETURNING quiet_id
), packet AS (
    INSERT INTO quarantine (tenant_id, device_id, topic, codec, route, reason, detail, raw, digest, first_received_at,
                            last_received_at)
    VALUES ('default', 'nobody', %(name)s, 'json', 0, 'malformed', '', 'x', 'x', now(), now()) RETURNING quarantine_id
)
SELECT quiet_id, quarantine_id FROM quiet, packet
"""


def put_real(site: Site, name: str) -> dict[str, str]:
    """A message, a command, an incident, a silence and a quarantined packet of the site's own; their ids."""
    with psycopg.connect(site.gateway.database_url) as conn:
        row = conn.execute(REAL, {"name": name, "device_id": site.known["device_id"]}).fetchone()
    assert row is not None
    made = {f"{what}_id": f"{prefix}_{name}" for what, prefix in KINDS.items()}
    made |= {"quiet_id": str(row[0]), "quarantine_id": str(row[1])}
    ways = ("deliveries/{message_id}", "incidents/{incident_id}", "quarantine/{quarantine_id}")
    with site.client() as client:  # they do lead somewhere, for their own people
        for way in (*ways, "devices/{device_id}/commands/{command_id}"):
            path = way.format(**site.known, **made)
            assert client.get(f"/v1/{path}").status_code == 200, path
    return made


KINDS: Final = {"message": "msg", "command": "cmd", "incident": "inc"}


@pytest.mark.parametrize("role", Role)
def test_another_tenant_sees_and_changes_nothing_whatever_the_role(site: Site, role: Role) -> None:
    token = f"of-another-tenant-{role}"
    site.gateway.query(
        "INSERT INTO api_token (tenant_id, name, role, digest, created_at)"
        " VALUES ('other', %s, %s, %s, now()) RETURNING 1",
        token, role, digest_of(token),
    )  # fmt: skip
    known = site.known | put_real(site, f"real-{role}")
    before = state_of(site.gateway, "default")
    secrets = [known[name] for name in ("case_id", "alarm_id", "device_id", "owner_ref")]
    secrets += [known[f"{what}_id"] for what in KINDS]
    let_in = 0
    with site.client() as client:
        client.headers["Authorization"] = f"Bearer {token}"
        for path, item in site.document["paths"].items():
            for method, operation in item.items():
                if not path.startswith("/v1/") or path.startswith(("/v1/callbacks/", "/v1/session", "/v1/events")):
                    continue
                body = example_of(site.document, operation) if "requestBody" in operation else None
                asked = re.sub(r"\{(\w+)\}", lambda match: known.get(match[1], "1"), path)
                given = {"model": "coffee-machine"} if "/export/" in path else {"which": "all"}
                params = {name: given[name] for name in declared(operation) & given.keys()}
                answer = client.request(method, asked, json=body, params=params)
                assert answer.status_code < 500, (method, path, answer.text)
                if path == "/v1/audit" and answer.is_success:  # their own asking is all that they find there
                    theirs = {f"token:of-another-tenant-{each}" for each in Role}
                    assert {each["who"] for each in answer.json()["items"]} <= theirs
                elif answer.is_success:
                    let_in += 1
                    assert not [secret for secret in secrets if secret in answer.text], (method, path)
                else:
                    assert answer.status_code in {403, 404, 409, 422}, (method, path, answer.text)
                    is_of_somebody = method != "get" and set(re.findall(r"\{(\w+)\}", path)) & IDS
                    assert answer.status_code in {403, 404} or not is_of_somebody, (method, path, answer.text)
    assert let_in > 5
    assert state_of(site.gateway, "default") == before


IDS: Final = frozenset({"case_id", "alarm_id", "device_id", "owner_ref", "message_id", "quiet_id"})

AGENTS: Final = (
    "/v1/alarms/", "/v1/cases/", "/v1/devices/{device_id}/commands", "/v1/owners/", "/v1/outreach/{step_id}/",
)  # fmt: skip
OPERATORS: Final = (
    "/v1/clock", "/v1/deliveries/", "/v1/devices/{device_id}/capture", "/v1/devices/{device_id}/credentials",
    "/v1/endpoints/", "/v1/outreach/stopped",
    "/v1/quarantine/", "/v1/silences", "/v1/watches/",
)  # fmt: skip
ADMINS: Final = ("/v1/people", "/v1/tokens")


def role_for(path: str) -> Role:
    """Who may write there, at least, as `docs/people.md` says. Fails for a write that nobody has put into the table."""
    rooms = {Role.AGENT: AGENTS, Role.OPERATOR: OPERATORS, Role.ADMIN: ADMINS}
    (role,) = [role for role, begins in rooms.items() if path.startswith(begins)]
    return role


def test_no_write_is_let_in_below_its_documented_role(site: Site) -> None:
    roles, tokens = list(Role), {role: f"below-{role}" for role in Role}
    for role, token in tokens.items():
        site.gateway.query(
            "INSERT INTO api_token (tenant_id, name, role, digest, created_at)"
            " VALUES ('default', %s, %s, %s, now()) RETURNING 1",
            token, role, digest_of(token),
        )  # fmt: skip
    refused, wrong = 0, list[tuple[str, str, Role, int]]()
    with site.client() as client:
        for path, item in site.document["paths"].items():
            for method, operation in item.items():
                is_open = path.startswith(("/v1/callbacks/", "/v1/session", "/v1/answers/"))
                if method == "get" or is_open or not path.startswith("/v1/"):
                    continue
                body = example_of(site.document, operation) if "requestBody" in operation else None
                asked = re.sub(r"\{(\w+)\}", lambda match: site.known.get(match[1], "1"), path)
                for role in roles[: roles.index(role_for(path))]:
                    headers = {"Authorization": f"Bearer {tokens[role]}"}
                    status = client.request(method, asked, json=body, headers=headers).status_code
                    refused += status == 403
                    wrong += [(method, path, role, status)] if status != 403 else []
    assert wrong == []
    assert refused > 40


LENIENT: Final = ("/healthz", "/readyz", "/metrics", "/v1/callbacks/", "/v1/session/oidc")


def test_a_parameter_that_a_call_does_not_have_is_refused_by_name(site: Site) -> None:
    refused = 0
    with site.client() as client:
        for path, item in site.document["paths"].items():
            for method, operation in item.items():
                if path.startswith(LENIENT):
                    continue
                asked = re.sub(r"\{(\w+)\}", lambda match: site.known.get(match[1], "1"), path)
                answer = client.request(method, asked, params={"limi": "1", "statt&": "open"})
                assert answer.status_code == 422, (method, path, answer.text)
                assert answer.headers["content-type"] == "application/problem+json"
                wrong, _, has = answer.json()["detail"].partition("; it has ")
                assert wrong.endswith(": limi, statt&"), wrong
                assert set(has.split(", ")) == (declared(operation) or {"none at all"}), (method, path)
                refused += 1
        assert refused > 70
        assert client.get("/v1/cases", params={"limit": 1}).status_code == 200
        for path in ("/healthz", "/metrics"):
            assert client.get(path, params={"utm_source": "x"}).status_code == 200
        for path in ("/v1/callbacks/nobody", "/v1/session/oidc", "/v1/session/oidc/callback", "/v1/answers/x"):
            method = "POST" if "callbacks" in path else "GET"
            assert "utm_source" not in client.request(method, path, params={"utm_source": "x"}).text, path
        nobody = client.get("/v1/cases", params={"limi": "1"}, headers={"Authorization": "Bearer nobody"})
        assert nobody.status_code == 401


def test_the_calls_that_we_measure_send_what_the_document_declares(site: Site) -> None:
    known = {
        re.sub(r"\{\w+\}", "{}", path): item["get"] for path, item in site.document["paths"].items() if "get" in item
    }
    for call in API_CALLS:
        path, _, query = call.path.partition("?")
        assert dict(parse_qsl(query)).keys() <= declared(known[re.sub(r"\{\w+\}", "{}", path)]), call


def test_a_method_that_an_address_does_not_have_is_405_and_says_which_it_has(site: Site) -> None:
    with site.client() as client:
        for path, item in site.document["paths"].items():
            answer = client.options(re.sub(r"\{\w+\}", "1", path))
            assert answer.status_code == 405, (path, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
            assert {method.upper() for method in item} <= set(answer.headers["allow"].split(", ")), path
        assert client.delete("/v1/silences").headers["allow"] == "GET, HEAD, POST"
        assert client.put("/v1/cases/1/note").headers["allow"] == "POST"
        for path in ("/healthz", "/v1/devices", "/v1/events"):  # a stream, too, which has only a beginning then
            head = client.head(path)
            assert (head.status_code, head.content, head.headers.get("server")) == (200, b"", None), path
        for path in ("/v1/nothing", "/v1/cases/"):
            unknown = client.get(path)
            assert (unknown.status_code, unknown.headers["content-type"]) == (404, "application/problem+json")
        page = client.get("/nothing")  # which is the console's to say
        assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")


def declared(operation: dict[str, Any]) -> set[str]:
    """What may stand in the query of a call."""
    return {each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"}


def required_of(document: dict[str, Any], name: str) -> list[str]:
    """The fields that a schema says are always there."""
    return list(document["components"]["schemas"][name]["required"])


def example_of(document: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any]:
    """A body with what an operation's schema requires."""
    schema = resolved(document, operation["requestBody"]["content"]["application/json"]["schema"])
    return {name: value_of(document, schema["properties"][name]) for name in schema.get("required", [])}


def value_of(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    """Something that a schema takes."""
    schema = resolved(document, schema.get("anyOf", [schema])[0])
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("format") == "date-time":
        return "2199-01-01T00:00:00Z"
    simple: dict[str, Any] = {"boolean": False, "integer": 1, "number": 1.0, "array": [], "object": {}}
    return simple.get(schema["type"], "service")


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A schema, or the one that it refers to."""
    reference = schema.get("$ref")
    return document["components"]["schemas"][reference.rpartition("/")[2]] if reference else schema
