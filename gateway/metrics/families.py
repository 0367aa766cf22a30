"""Facts as metric families. Labels are closed words or names from the settings: never a device, never a person."""

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from crm_sync.stats import CrmStats
from gateway.cohorts.shown import IncidentTotals
from gateway.metrics.facts import Facts, QueueFacts
from gateway.order.totals import OrderTotals
from gateway.outreach.words import Pulse
from gateway.pipeline.timings import Histogram
from gateway.store.tallies import Backlog, Tallies

_POOL_WORDS: Final = {"pool_size": "open", "pool_available": "idle", "requests_waiting": "waiting"}


def families(facts: Facts) -> Iterator[Metric]:
    """Every family, in the order of a reading's way."""
    yield InfoMetricFamily(
        "careloop",
        "The gateway's version and its database.",
        {"version": facts.version, "database": facts.database_edition},
    )
    ready = all(facts.checks.values())
    yield _gauge("careloop_ready", "1 while readings can be taken, stored and worked.", float(ready))
    yield _gauges("careloop_check", "1 while this part of /readyz is well.", "part", _as_numbers(facts.checks))
    yield from _doors(facts)
    yield from _queue(facts.queue)
    yield from _pipeline(facts)
    yield from _order(facts.order)
    yield from _database(facts)
    if facts.database.tallies is not None:
        yield from _tallies(facts.database.tallies)
    if facts.database.incidents is not None:
        yield from _incidents(facts.database.incidents)
    if facts.database.backlog is not None:
        yield from _backlog(facts.database.backlog, facts.now_s)
    yield from _crm(facts.crm, facts.crm_restarts)
    yield _gauges(
        "careloop_event_loop_lag_seconds",
        "The longest that the process's event loop of late kept somebody waiting whose time had come.",
        "process",
        facts.loop_lag_s,
    )


def _doors(facts: Facts) -> Iterator[Metric]:
    yield _gauges(
        "careloop_door_open", "1 while devices can reach us through the door.", "door", _as_numbers(facts.doors)
    )
    listen, subscribe = facts.listen, facts.subscribe
    if listen is not None:
        yield _gauge("careloop_connections", "Devices connected now.", listen.connections)
        yield _gauge("careloop_connections_waiting", "Sockets that wait for their turn.", listen.waiting)
        yield _gauge("careloop_connections_half_open", "Sockets before the answer to CONNECT.", listen.half_open)
        for name, words, value in (
            ("connections_accepted", "Sockets accepted.", listen.accepted),
            ("connections_turned_away", "Sockets closed at once, for there were too many.", listen.turned_away),
            ("connections_ended", "Connections of devices that ended.", listen.disconnected),
            (
                "connections_timed_out",
                "Connections without CONNECT in time, or that missed their keep-alive.",
                listen.timeouts,
            ),
            ("connections_taken_over", "Connections ended by a newer one of the same device.", listen.taken_over),
            ("connections_held_back", "Times that a connection was not read because something was full.", listen.held),
            (
                "listen_lost_at_qos_0",
                "PUBLISHes at QoS 0 that waited for room until their connection ended.",
                listen.lost_at_qos_0,
            ),
            ("logins", "CONNECTs let in.", listen.logins),
            ("listen_packets", "PUBLISHes taken from devices.", listen.published),
            ("listen_payload_bytes", "Bytes of their payloads.", listen.published_bytes),
            ("listen_acknowledgements", "PUBACKs sent to devices.", listen.acknowledged),
            ("listen_foreign_topics", "PUBLISHes on another device's topic.", listen.foreign_topics),
            ("listen_wills", "Last wills published.", listen.wills),
        ):
            yield _counter(f"careloop_{name}", words, value)
        yield _counters("careloop_logins_refused", "CONNECTs not let in.", "reason", listen.refused)
        yield _counters(
            "careloop_protocol_violations", "Connections ended for what they sent.", "reason", listen.violations
        )
    if subscribe is not None:
        for name, words, value in (
            ("connected", "Times that the broker let us in.", subscribe.connected),
            ("lost", "Times that the connection ended, or did not come about.", subscribe.lost),
            ("received", "PUBLISHes taken from the broker.", subscribe.received),
            ("redelivered", "PUBLISHes that the broker marked as sent before.", subscribe.redelivered),
            ("acknowledgements", "PUBACKs sent to the broker.", subscribe.acknowledged),
            (
                "too_late",
                "PUBLISHes stored when their connection was gone; the broker sends them again.",
                subscribe.too_late,
            ),
        ):
            yield _counter(f"careloop_subscribe_{name}", words, value)
        yield _gauge("careloop_subscribe_unsettled", "PUBLISHes with the pipeline now.", subscribe.unsettled)


def _queue(queue: QueueFacts) -> Iterator[Metric]:
    yield _gauge("careloop_queue_packets", "Packets that wait for a batch.", queue.packets)
    yield _gauge("careloop_queue_bytes", "Bytes of their payloads.", queue.bytes)
    yield _gauge("careloop_queue_packets_limit", "Above this the doors stop reading.", queue.most_packets)
    yield _gauge("careloop_queue_bytes_limit", "Or above this.", queue.most_bytes)
    yield _gauge("careloop_queue_oldest_seconds", "How long the oldest has waited; gateway's clock.", queue.oldest_s)


def _pipeline(facts: Facts) -> Iterator[Metric]:
    stats = facts.stats
    yield _counter("careloop_packets", "Packets settled after their commit.", stats.packets)
    results = {
        "stored": stats.stored,
        "duplicate": stats.duplicates,
        "filled": stats.filled,
        "conflict": stats.conflicts,
    }
    yield _counters("careloop_readings", "Readings told, by what became of them.", "result", results)
    yield _counters("careloop_quarantined", "What went into quarantine.", "reason", stats.quarantined)
    for name, words, value in (
        ("events", "Events and status messages stored.", stats.events),
        ("unprofiled_values", "Values of metrics that the profile does not know.", stats.unprofiled),
        ("alarm_changes", "Changes of alarms decided.", stats.alarms),
        ("batches", "Batches committed.", stats.batches),
        ("transaction_retries", "Transactions that had to be tried again.", stats.retries),
    ):
        yield _counter(f"careloop_{name}", words, value)
    yield _gauge(
        "careloop_lag_seconds",
        "From the receipt of the last batch's oldest packet to its commit; gateway's clock.",
        stats.lag_s,
    )
    timings = facts.timings
    yield _histogram("careloop_batch_readings", "Readings in a batch.", timings.readings)
    yield _histogram(
        "careloop_batch_transaction_seconds",
        "Storing, judging and committing a batch; real time.",
        timings.transaction_s,
    )
    yield _histogram(
        "careloop_batch_commit_seconds",
        "Of that, from COMMIT to the database's answer: what its disk costs.",
        timings.commit_s,
    )
    yield _histogram(
        "careloop_acknowledgement_seconds",
        "From the receipt of a batch's oldest packet to the batch's acknowledgement; one per batch, gateway's clock.",
        timings.acknowledged_s,
    )


def _database(facts: Facts) -> Iterator[Metric]:
    yield _gauge(
        "careloop_database_answer_seconds",
        "How long the database took for the last look at it.",
        facts.database.answer_s,
    )
    pools = GaugeMetricFamily(
        "careloop_database_pool_connections",
        "Connections by pool and state; state waiting counts those who want one.",
        labels=["pool", "state"],
    )
    for pool, numbers in sorted(facts.pools.items()):
        for name, state in _POOL_WORDS.items():
            pools.add_metric([pool, state], numbers.get(name, 0))
    yield pools


def _tallies(tallies: Tallies) -> Iterator[Metric]:
    alarms = GaugeMetricFamily("careloop_alarms", "Alarms in the database.", labels=["kind", "state"])
    for (kind, state), count in sorted(tallies.alarms_by_kind.items()):
        alarms.add_metric([kind, state], count)
    yield alarms
    yield _gauges("careloop_cases", "Cases in the database.", "state", tallies.cases)
    yield _gauges("careloop_inbox_notices", "Alarm notices on their way to cases.", "state", tallies.inbox)
    yield _gauges("careloop_outbox_messages", "Messages to CRMs.", "state", tallies.outbox)
    yield _gauges("careloop_quarantine_rows", "Payloads that lie in quarantine.", "reason", tallies.quarantined)


def _incidents(incidents: IncidentTotals) -> Iterator[Metric]:
    found = GaugeMetricFamily("careloop_incidents", "What befell many devices at once.", labels=["kind", "state"])
    for (kind, state), count in incidents.by_kind.items():
        found.add_metric([kind, state], count)
    yield found
    yield _gauge(
        "careloop_alarms_absorbed", "Alarms without a case, for a major case speaks for them.", incidents.absorbed
    )
    yield _gauge("careloop_alarms_held", "Alarms that wait to see whether they are some of many.", incidents.held)


def _order(order: OrderTotals) -> Iterator[Metric]:
    yield _gauge("careloop_messages_missing", "Messages of devices that never reached us.", order.missing)
    yield _gauge("careloop_devices_with_gaps", "Devices that miss some.", order.devices_with_gaps)
    clocks = {"off": order.clocks_off, "none": order.clockless}
    yield _gauges("careloop_device_clocks", "Devices whose clock is off, or that have none.", "clock", clocks)
    yield _gauge("careloop_rejudge_waiting", "Devices whose late readings are yet to be judged.", order.waiting)
    yield _counters("careloop_rejudged", "Devices judged anew, by what came of it.", "outcome", order.rejudged)


def _backlog(backlog: Backlog, now_s: float) -> Iterator[Metric]:
    yield _gauge(
        "careloop_outbox_oldest_seconds", "Age of the oldest message not yet delivered.", backlog.oldest_message_s
    )
    notice_at_s = backlog.oldest_notice_at_s
    yield _gauge(
        "careloop_inbox_oldest_seconds",
        "Age of the oldest alarm notice not yet worked; gateway's clock.",
        0.0 if notice_at_s is None else max(now_s - notice_at_s, 0.0),
    )
    yield _gauge(
        "careloop_outbox_parked_cases", "Cases whose announcement a CRM would not take.", backlog.parked_streams
    )
    yield _gauge("careloop_endpoints_disabled", "CRMs that are told nothing any more.", backlog.disabled_endpoints)


def _crm(pulse: Pulse | None, restarts: int) -> Iterator[Metric]:
    yield _counter("careloop_crm_restarts", "Times that the CRM process died and was started again.", restarts)
    if pulse is None:
        return
    stats = pulse.stats
    yield _counter("careloop_notices_worked", "Alarm notices worked.", stats.notices)
    yield _counter("careloop_notices_parked", "Alarm notices set aside, for they failed.", stats.parked)
    yield _counter("careloop_crm_failures", "Pieces of CRM work that had to be tried again.", stats.failures)
    attempts = CounterMetricFamily(
        "careloop_deliveries", "Requests to CRMs, by outcome.", labels=["endpoint", "result"]
    )
    for endpoint, results in sorted(stats.deliveries.items()):
        for result, count in sorted(results.items()):
            attempts.add_metric([endpoint, result], count)
    yield attempts
    yield _counters("careloop_delivery_seconds", "Time that they took together.", "endpoint", stats.delivery_s)
    yield from _records(stats)


def _records(stats: CrmStats) -> Iterator[Metric]:
    """Whether CRMs' records and our cases agree, as the last round over each endpoint had it."""
    yield _gauges(
        "careloop_records_compared", "Cases held against their records.", "endpoint", dict[str, float](stats.compared)
    )
    drifts = GaugeMetricFamily(
        "careloop_record_drifts", "Records that disagree with their cases.", labels=["endpoint", "what"]
    )
    for endpoint, kinds in sorted(stats.drifts.items()):
        for what, count in sorted(kinds.items()):
            drifts.add_metric([endpoint, what], count)
    yield drifts
    yield _gauges(
        "careloop_hooks_missed_ratio",
        "Share of a day's changes in CRMs that polling found and no hook had told.",
        "endpoint",
        stats.hooks_missed,
    )


def _counter(name: str, words: str, value: float) -> Metric:
    return CounterMetricFamily(name, words, value)


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(name, words, value)


def _counters(name: str, words: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, words, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family


def _gauges(name: str, words: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, words, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family


def _histogram(name: str, words: str, values: Histogram) -> Metric:
    buckets: list[tuple[str, float]] = []
    so_far = 0
    for bound, count in zip((*map(str, values.bounds), "+Inf"), values.counts, strict=True):
        so_far += count
        buckets.append((bound, so_far))
    family = HistogramMetricFamily(name, words)
    family.add_metric([], buckets, values.total)
    return family


def _as_numbers(truths: Mapping[str, bool]) -> dict[str, float]:
    return {name: float(truth) for name, truth in truths.items()}
