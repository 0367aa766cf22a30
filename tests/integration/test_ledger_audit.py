"""The ledger's own SQL against a database in which something was taken away, doubled or changed."""

import psycopg
import pytest

from tests.ingest.rig import Rig
from tests.ledger.audit import audit
from tests.ledger.book import Book, Key
from tests.ledger.plan import DevicePlan, payload_of

PLAN = DevicePlan("k1", 1_760_000_000_000, 1000, bad_each=5)


@pytest.fixture
async def book(database_url: str) -> Book:
    """Ten readings in the database, two of them in quarantine, and in the book."""
    told = [PLAN.told(number, 0, "listen") for number in range(10)]
    kept = Book()
    kept.publish(told)
    async with Rig(database_url).running() as rig:
        await rig.send(*(rig.packet("k1", payload_of(told[at : at + 2])) for at in range(0, 10, 2)))
    kept.acknowledge(each.key for each in told)
    return kept


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        ("SELECT 1", {}),
        ("DELETE FROM reading_kettle WHERE seq = 3", {"lost": [Key("k1", 3)]}),
        ("DELETE FROM quarantine WHERE detail LIKE '%5009%'", {"lost": [Key("k1", 9)]}),
        ("UPDATE reading_kettle SET celsius = 21.5 WHERE seq = 3", {"wrong": [Key("k1", 3)]}),
        ("UPDATE reading_kettle SET extra = '{\"ticks\": 4}' WHERE seq = 3", {"wrong": [Key("k1", 3)]}),
        ("UPDATE reading_kettle SET batch_row = 1000 WHERE seq = 3", {"out of order": [Key("k1", 3)]}),
        (
            "UPDATE reading_kettle SET seq = 99 WHERE seq = 3",
            {"lost": [Key("k1", 3)], "never published": [Key("k1", 99)]},
        ),
    ],
)
def test_harm_is_found(database_url: str, book: Book, harm: str, found: dict[str, list[Key]]) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(harm.encode())
        assert audit(conn, book.pages()).faults == found
