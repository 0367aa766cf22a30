"""What careloop says to TimescaleDB's Community edition, which no test of ours has at hand."""

from gateway.maintenance.community import (
    Generation,
    aggregate_statement,
    columnstore_statements,
    next_view,
    policy_statement,
    unrolled,
    view_statement,
)
from gateway.maintenance.rollup_columns import RolledMetric, RollupTables

KETTLE = RollupTables(
    "kettle",
    "reading_kettle",
    "usage_hour_kettle",
    "usage_day_kettle",
    (RolledMetric("celsius", "celsius", is_counter=False), RolledMetric("boils", "boils", is_counter=True)),
)


FIXED = ["device_id", "bucket", "readings", "first_ts", "last_ts", "through_seq"]


def test_an_aggregate_rolls_up_the_metrics_that_it_is_given() -> None:
    create = aggregate_statement("reading_kettle", "usage_hour_kettle_1", KETTLE.metrics[1:], "1 hour").as_string()
    assert create.startswith('\nCREATE MATERIALIZED VIEW IF NOT EXISTS "usage_hour_kettle_1"')
    assert "timescaledb.continuous, timescaledb.materialized_only = false" in create
    assert "time_bucket('1 hour'::interval, r.ts)" in create
    assert create.rstrip().endswith('FROM "reading_kettle" r GROUP BY 1, 2 WITH NO DATA')
    assert 'AS "boils_rise"' in create
    assert "celsius" not in create
    policy = policy_statement("usage_hour_kettle_1", "1 hour", "5 minutes").as_string()
    assert "add_continuous_aggregate_policy('usage_hour_kettle_1', start_offset => NULL" in policy
    assert "schedule_interval => '5 minutes'::interval, initial_start => now() + '5 minutes'::interval" in policy


def test_metrics_that_come_later_have_an_aggregate_of_their_own() -> None:
    """Also those of a model that had none at first, as devices without a profile."""
    assert unrolled(KETTLE.metrics, []) == [*KETTLE.metrics]
    none_yet = [Generation("usage_hour_kettle_0", FIXED)]
    assert next_view("usage_hour_kettle", none_yet) == "usage_hour_kettle__1", "usage_hour_kettle_1 is of a kettle-1"
    assert unrolled(KETTLE.metrics, none_yet) == [*KETTLE.metrics]
    some = [*none_yet, Generation("usage_hour_kettle_9", [*FIXED, "celsius_n"])]
    assert next_view("usage_hour_kettle", some) == "usage_hour_kettle__10"
    assert [metric.name for metric in unrolled(KETTLE.metrics, some)] == ["boils"]


def test_a_rollup_is_a_view_over_its_aggregates() -> None:
    first = Generation("usage_hour_kettle_0", [*FIXED, "celsius_n"])
    later = Generation("usage_hour_kettle_1", [*FIXED, "boils_n"])
    text = view_statement("usage_hour_kettle", [first, later]).as_string()
    assert text.startswith('CREATE OR REPLACE VIEW "usage_hour_kettle" AS SELECT "usage_hour_kettle_0"."device_id", ')
    assert text.endswith('FROM "usage_hour_kettle_0" LEFT JOIN "usage_hour_kettle_1" USING (device_id, bucket)')
    assert '"usage_hour_kettle_0"."celsius_n", "usage_hour_kettle_1"."boils_n" FROM' in text
    assert text.count("readings") == 1


def test_the_columnstore_is_asked_for_in_the_words_of_the_servers_version() -> None:
    enable, policy = (one.as_string() for one in columnstore_statements("reading_kettle", 864.0, has_columnstore=True))
    assert "timescaledb.enable_columnstore, timescaledb.segmentby = 'device_id'" in enable
    assert policy.startswith("\nCALL add_columnstore_policy('reading_kettle', after => make_interval(secs => 864.0)")
    enable, policy = (one.as_string() for one in columnstore_statements("reading_kettle", 864.0, has_columnstore=False))
    assert "timescaledb.compress_segmentby = 'device_id'" in enable
    assert "add_compression_policy('reading_kettle', compress_after =>" in policy
    assert "initial_start => now() + interval '1 hour'" in policy
