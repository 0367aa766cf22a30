"""What the pipeline asks of the database besides storing."""

from collections.abc import Sequence
from typing import LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from devices.errors import QuarantineReason
from devices.payloads.dialect import Recall
from gateway.store.times import datetime_of

REQUEST_RECALLS: LiteralString = """
UPDATE quarantine q SET replay_requested_at = clock_timestamp(), replayed_at = NULL, outcome = NULL
FROM unnest(%(device_ids)s::text[], %(topics)s::text[], %(deaths)s::text[], %(untils)s::timestamptz[])
     AS born (device_id, topic, death_of, until)
WHERE q.device_id = born.device_id AND q.topic = born.topic AND q.reason = %(reason)s
  AND q.replay_requested_at IS NULL AND (q.outcome IS NULL OR q.outcome = 'quarantined')
  AND q.last_received_at > coalesce(
      (SELECT max(s.received_at) FROM device_status s WHERE s.device_id = born.death_of AND s.code = 'offline'),
      '-infinity')
  AND q.last_received_at <= born.until
"""


async def request_recalls(conn: AsyncConnection[TupleRow], recalls: Sequence[Recall]) -> None:
    """Ask for the replay of what waited for births that have come."""
    await conn.execute(
        REQUEST_RECALLS,
        {
            "device_ids": [recall.device_id for recall in recalls],
            "topics": [recall.topic for recall in recalls],
            "deaths": [recall.since_death_of for recall in recalls],
            "untils": [datetime_of(recall.until_us) for recall in recalls],
            "reason": str(QuarantineReason.NO_BIRTH),
        },
    )
