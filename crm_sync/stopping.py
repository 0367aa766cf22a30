"""What a kill switch stops at once: commands of playbooks that their products have not been told yet are withdrawn."""

from typing import Final, LiteralString

from crm_sync.cases.queries import Connection
from crm_sync.policy import switches
from crm_sync.policy.switches import Switch
from crm_sync.trust.models import AUTOMATIC
from devices.commands.queries import cancel_command

WHY: Final = "a kill switch stopped it"


async def stop(conn: Connection, tenant_id: str, switch: Switch) -> bool:
    """Throw a switch, and withdraw what it stops, in the caller's transaction; False where that is stopped already.

    What a person has told a product to do stays.
    """
    if not await switches.throw(conn, tenant_id, switch):
        return False
    await withdraw_stopped(conn, tenant_id)
    return True


# A switch names a product's model as its profile does, as trust does (automatic without a profile), or as the registry.
_STOPPED: Final[LiteralString] = """
SELECT f.command_id
  FROM silent_fix f
  JOIN device_command d USING (command_id)
  JOIN device v ON v.device_id = d.device_id
  LEFT JOIN asset a ON a.device_id = v.device_id
 CROSS JOIN LATERAL (SELECT model FROM case_action WHERE case_id = f.case_id ORDER BY round DESC LIMIT 1) AS counted
 WHERE f.tenant_id = %(tenant_id)s AND f.state = 'ordered' AND d.state IN ('queued', 'sent')
   AND (%(everything)s OR EXISTS (
       SELECT FROM kill_switch k
        WHERE k.tenant_id = f.tenant_id AND k.released_at IS NULL
          AND (k.scope = 'tenant'
               OR k.model IN ('*', counted.model, coalesce(v.model, a.model))
                  AND (k.scope = 'problem' AND k.name = f.problem
                       OR k.scope = 'watch' AND EXISTS (
                          SELECT FROM case_alarm l
                           WHERE l.case_id = f.case_id
                             AND (l.watch = k.name
                                  OR counted.model = %(automatic)s AND replace(l.kind, '_', '-') = k.name))))))
 ORDER BY f.command_id
"""


async def withdraw_stopped(conn: Connection, tenant_id: str, *, everything: bool = False) -> int:
    """Withdraw commands of playbooks that a switch stops and no product has acknowledged; returns how many."""
    values = {"tenant_id": tenant_id, "everything": everything, "automatic": AUTOMATIC}
    stopped = [row[0] async for row in await conn.execute(_STOPPED, values)]
    return sum([await cancel_command(conn, tenant_id, command_id, WHY) for command_id in stopped])
