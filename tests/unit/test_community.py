"""What careloop says to TimescaleDB's Community edition, which no test of ours has at hand."""

from gateway.maintenance.community import aggregate_statements, columnstore_statements, view_statement
from gateway.maintenance.rollup_columns import RolledMetric, RollupTables

KETTLE = RollupTables(
    "kettle",
    "reading_kettle",
    "usage_hour_kettle",
    "usage_day_kettle",
    (RolledMetric("celsius", "celsius", is_counter=False), RolledMetric("boils", "boils", is_counter=True)),
)


def test_an_aggregate_rolls_up_the_metrics_from_one_on() -> None:
    create, policy = (
        one.as_string() for one in aggregate_statements(KETTLE, "usage_hour_kettle_1", 1, "1 hour", "5 minutes")
    )
    assert create.startswith('\nCREATE MATERIALIZED VIEW IF NOT EXISTS "usage_hour_kettle_1"')
    assert "timescaledb.continuous, timescaledb.materialized_only = false" in create
    assert "time_bucket('1 hour'::interval, r.ts)" in create
    assert create.rstrip().endswith('FROM "reading_kettle" r GROUP BY 1, 2 WITH NO DATA')
    assert 'AS "boils_rise"' in create
    assert "celsius" not in create
    assert "add_continuous_aggregate_policy('usage_hour_kettle_1', start_offset => NULL" in policy
    assert "schedule_interval => '5 minutes'::interval, initial_start => now() + '5 minutes'::interval" in policy


def test_a_rollup_is_a_view_over_its_aggregates() -> None:
    first = ["device_id", "bucket", "readings", "first_ts", "last_ts", "through_seq", "celsius_n"]
    later = [*first[:6], "boils_n"]
    view = view_statement("usage_hour_kettle", [("usage_hour_kettle_0", first), ("usage_hour_kettle_1", later)])
    text = view.as_string()
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
