"""What decoding needs, without a database."""

from collections.abc import Mapping

from devices.ids import partition_of
from devices.payloads import Codec
from devices.registry.model import Device
from gateway.pipeline.directory import DeviceDirectory
from gateway.pipeline.settings import IngestSettings, PipelineSettings
from gateway.pipeline.sources import Sources
from gateway.store.rows import ReadingTable
from gateway.store.tables import ReadingTables
from tests.ingest.rig import PROFILES

DEVICES = {"k1": "kettle", "k2": "kettle", "k3": "no such model", "a1": None}
TABLES = {
    "kettle": ReadingTable("kettle", "reading_kettle", ("celsius", "boils"), ("celsius", "boils")),
    "automatic": ReadingTable("automatic", "reading_automatic", ("boils",), ("boils",)),
}


class GivenTables(ReadingTables):
    """Tables as a database would have told of them; a test may change them."""

    def __init__(self, tables: Mapping[str, ReadingTable] = TABLES) -> None:
        self.given = dict(tables)

    def __getitem__(self, model: str) -> ReadingTable:
        return self.given[model]


def sources(codec: Codec, tables: ReadingTables | None = None) -> Sources:
    """A few devices, two product models, one codec."""
    directory = DeviceDirectory(
        [Device(name, "default", model, None, partition_of(name)) for name, model in DEVICES.items()]
    )
    settings = PipelineSettings(ingest=IngestSettings(max_payload_bytes=5000))
    return Sources(settings, directory, {"json": codec}, PROFILES, tables or GivenTables())
