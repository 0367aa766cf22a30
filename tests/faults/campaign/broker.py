"""A Mosquitto with the very settings that docs/brokers/mosquitto.md gives."""

import re
from pathlib import Path

from tests.services.mosquitto import Mosquitto

PAGE = Path(__file__).parents[3] / "docs" / "brokers" / "mosquitto.md"
PLACE = "persistence_location"


def documented_settings() -> list[str]:
    """The lines of the page's mosquitto.conf, without where it keeps its files."""
    (block,) = re.findall(r"```conf\n(.*?)```", PAGE.read_text(), re.DOTALL)
    lines = [line for line in block.splitlines() if line and not line.startswith(("#", PLACE))]
    assert any(line.startswith("persistence true") for line in lines)
    return lines


class DurableMosquitto(Mosquitto):
    """A broker that a campaign kills, on the settings that users are told to take."""

    def settings(self) -> list[str]:
        """The page's settings."""
        return [*documented_settings(), f"{PLACE} {self.folder}/"]
