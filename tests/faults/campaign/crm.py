"""One case per fault, one record per case: what the database and the sandbox CRM say after all rounds."""

from collections import Counter
from typing import LiteralString

from tests.faults.campaign.fleet import ill_of
from tests.faults.campaign.rounds import Rounds
from tests.faults.campaign.world import World
from tests.ledger.sender import wait_for

DELIVERED_S = 180.0  # of which a killed gateway's leases take a minute

WAITING: LiteralString = """
SELECT (SELECT count(*) FROM inbox WHERE state <> 'done')
     + (SELECT count(*) FROM outbox_message WHERE state = 'pending')
"""
DEAD: LiteralString = "SELECT count(*) FROM outbox_message WHERE state = 'dead'"
# A case that was over before the CRM could be told of it is withdrawn, and never told.
ANNOUNCED: LiteralString = """
SELECT DISTINCT stream_key FROM outbox_message JOIN outbox_stream USING (stream_id)
WHERE type = 'case.opened' AND outbox_message.state = 'delivered'
"""
CASES: LiteralString = "SELECT device_id, case_id FROM service_case ORDER BY device_id, number"


def check_cases(world: World, rounds: Rounds) -> tuple[str, list[str]]:
    """What is told of the cases, and what is wrong with them."""
    with world.sql() as conn:
        wait_for(lambda: conn.execute(WAITING).fetchone() == (0,), DELIVERED_S)
        waiting, dead = (conn.execute(query).fetchone() for query in (WAITING, DEAD))
        announced = {str(case) for (case,) in conn.execute(ANNOUNCED)}
        cases = [(str(device), str(case)) for device, case in conn.execute(CASES)]
    book = world.crm.sandbox.book
    wrong = [
        f"{what}: {count}"
        for what, count in {
            "notices or messages that still wait": (waiting or (1,))[0],
            "dead letters": (dead or (1,))[0],
            "records beyond one of a case in the CRM": book.duplicate_records,
            "messages in the CRM about cases that were never opened": book.orphans,
            "messages in the CRM out of order": book.out_of_order,
            "messages with a bad signature": world.crm.sandbox.bad_signatures,
        }.items()
        if count
    ]
    if announced != book.case_ids:
        wrong.append(f"cases that only one side knows: {sorted(announced ^ book.case_ids)}")
    ill = _ill(rounds)
    of_device = Counter(device for device, _ in cases)
    wrong += [f"{device}'s case is not in the CRM" for device, case in cases if device in ill and case not in announced]
    wrong += [f"{device} fell ill once and has {of_device[device]} cases" for device in ill if of_device[device] != 1]
    told = (
        f"faults: {len(ill)} devices fell ill; {len(cases)} cases, {len(book.records)} records in the CRM, "
        f"{world.crm.sandbox.requests} requests"
    )
    return told, wrong


def _ill(rounds: Rounds) -> list[str]:
    """The devices that fell ill, except where a killed broker has lost what would have told it."""
    played = rounds.book.round_number + 1
    lost = {key.device_id for key in rounds.lost_by_broker}
    return [name for number in range(played) for name in ill_of(number) if name not in lost]
