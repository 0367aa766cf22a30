"""The short form of `make faults`: a few rounds of its hundred, each with its proof, and both ends compared."""

from pathlib import Path
from tempfile import mkdtemp

from gateway.database.provisioned import Provisioned
from tests.faults.campaign.campaign import Plan, campaign
from tests.faults.campaign.strikes import named

SEED = 11


def test_what_was_acknowledged_is_stored_once_whatever_dies(service_folder: Path, provisioned: Provisioned) -> None:
    # A killed gateway's messages to the CRM are leased for a minute: its kills come first, so that it passes meanwhile.
    strikes = named("all killed", "gateway killed", "disk full")
    folder = Path(mkdtemp(prefix="campaign-", dir=service_folder))
    again = "pytest tests/faults/test_campaign.py"
    plan = Plan(strikes, SEED, edition="plain", folder=folder, load=0.5, again=again)
    assert campaign(plan, provisioned) == []
