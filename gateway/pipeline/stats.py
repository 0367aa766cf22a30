"""What the pipeline has done since it started."""

from dataclasses import dataclass, field

from gateway.pipeline.written import Written


@dataclass(slots=True)
class PipelineStats:
    """Counters since the start of the gateway."""

    packets: int = 0
    readings: int = 0  # told, whether stored, known already, or refused
    stored: int = 0
    duplicates: int = 0
    filled: int = 0
    conflicts: int = 0
    quarantined: dict[str, int] = field(default_factory=dict[str, int])  # by reason
    unprofiled: int = 0  # values of metrics that the profile does not know
    events: int = 0
    alarms: int = 0  # changes of alarms
    batches: int = 0
    housekeepings: int = 0  # looks at silences, replays and checkpoints between batches
    retries: int = 0  # transactions that had to be tried again
    lag_s: float = 0.0  # from receipt to commit, of the oldest packet of the last batch; the gateway's clock
    queued_packets: int = 0
    given_up: int = 0  # packets at QoS 0 that were not stored when the gateway stopped: nobody sends them again

    def count(self, written: Written, lag_s: float) -> None:
        """Count a committed batch."""
        self.packets += len(written.batch.packets)
        self.stored += written.stored
        self.duplicates += written.duplicates
        self.filled += written.filled
        self.conflicts += written.conflicts
        for row in written.refused:
            self.quarantined[str(row.reason)] = self.quarantined.get(str(row.reason), 0) + 1
        self.readings += written.told
        self.unprofiled += written.batch.unprofiled
        self.events += written.new_events
        self.alarms += len(written.changes)
        self.batches += 1
        self.lag_s = lag_s
