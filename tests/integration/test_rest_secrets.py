"""Secrets that a helpdesk wants besides its token."""

from pathlib import Path
from urllib.parse import quote

from tests.integration.test_rest_adapter import EXAMPLE, case, open_desk


async def test_a_secret_among_the_values_of_an_account_is_kept_nowhere(plain_database_url: str, tmp_path: Path) -> None:
    secret, shown = 'k3y "of"/the account', r"k3y \"of\"/the account"
    text = EXAMPLE.read_text().replace('[create]\npath = "/api/tickets"', '[create]\npath = "/api/{account.api_key}"')
    text = text.replace('subject = "{title}"', 'subject = "{title} {account.api_key}"')
    text = text.replace("\n[auth]", '\n[account]\napi_key = ""\n\n[auth]', 1)
    assert text.count("api_key") == 3
    (file := tmp_path / "desk.toml").write_text(text)
    async with open_desk(plain_database_url, file, account={"api_key": secret}) as (rig, _):
        await rig.enqueue(opened := case())
        await rig.run()
        (attempt,) = (await rig.one(opened)).attempts
        assert attempt.request is not None
        assert "POST /api/…" in attempt.request
        (row,) = await rig.rows("SELECT row_to_json(a)::text AS kept FROM delivery_attempt a")
        for written in (secret, shown, "k3y", quote(secret, safe="")):
            assert written not in attempt.request
            assert written not in row["kept"]
