"""What the columns of people's tables are called."""

from typing import Final

CYCLES: Final = (
    *("cycle", "cycles", "cycle_number", "cycle_no", "cycle_nr", "time_cycle", "time_cycles", "time_in_cycles"),
    *("time_step", "timestep", "flight", "flight_number", "flight_no"),
)
TIMES: Final = (
    *("timestamp", "time_stamp", "datetime", "date_time", "time", "ts", "date"),
    *("zeitstempel", "zeit", "datum", "epoch", "unix", *CYCLES),
    *("start_time", "starttime", "start_date", "startdate"),
)
TIME_WORDS: Final = frozenset({"timestamp", "datetime", "time", "date", "hour", "minute", "day"})
"""What is part of the name of a time where no column bears one of the usual names: `ActivityHour`, `start_time`."""
DAYS: Final = ("date", "datum", "day")
CLOCKS: Final = ("time", "time_of_day", "zeit", "uhrzeit", "clock", "hour", "stunde")
"""A day and a time of day in two columns are one time…"""
WHOLE: Final = frozenset({"timestamp", "time_stamp", "datetime", "date_time", "ts", "zeitstempel", "epoch", "unix"})
"""…unless one of these says all of it: then they are measured, as numbers of a weekday and of an hour are."""
DEVICES: Final = (
    *("device", "device_id", "deviceid", "machine", "machine_id", "machineid"),
    *("unit", "unit_id", "unit_number", "unitnumber", "unit_nr", "unit_no", "asset", "asset_id", "serial"),
    *("engine", "engine_id", "engine_number", "engine_nr", "engine_no"),
    *("user", "user_id", "userid", "person", "person_id", "participant", "participant_id"),
    *("subject", "subject_id", "patient", "patient_id", "wearer", "wearer_id", "athlete", "athlete_id"),
    *("station", "station_id", "vehicle", "vehicle_id", "household", "household_id", "sensor_id", "imei"),
)
PROCESSOR: Final = frozenset({"system", "sys", "idle", "iowait"})
"""Beside one of these `user` is a share of a processor's time, and nobody's name."""
COUNTED: Final = "id"
"""What a table whose time is a number of cycles calls its machines, too; elsewhere it may count rows, as may what
ends in it."""
SERIALS: Final = frozenset({"serial_no", "serial_number", "serialnumber"})
"""These may count rows, too."""
NUMBERS: Final = frozenset(
    {
        *("index", "idx", "row", "rows", "row_no", "row_number", "rownum", "rownumber", "no", "no.", "nr", "nr.", "#"),
        *("s.no", "s.no.", "sno", "sl_no", "sl.no", "unnamed:_0", "seq", "sequence", "sequence_number", "record_no"),
    }
)
"""What numbers the rows beside a time, where it counts on by one."""
STEPS: Final = frozenset(
    {"t", "n", "step", "sample", "sample_no", "sample_number", "frame", "tick", "elapsed", *NUMBERS}
)
"""What stands in the place of a time where nothing else does, and rises."""
PARTS: Final = ("year", "month", "day", "hour", "minute", "second")
"""A time whose parts are columns."""
NAMES: Final = (
    "metric",
    "metric_name",
    "variable",
    "field",
    "measurement",
    "parameter",
    "quantity",
    "signal",
    "sensor",
    "type",
)
VALUES: Final = ("value", "values", "val", "wert")
"""A table with one of both has a measurement a row, and says in the row which: the long form."""
SINGLE: Final = ("timestamp", "value")
"""A table with these two is one series, whatever else it holds."""
LABELS: Final = frozenset(
    (
        *("anomaly", "is_anomaly", "anomaly_score", "label", "labels", "changepoint", "change_point", "ground_truth"),
        *(
            "outlier",
            "is_outlier",
            "attack",
            "target",
            "class",
            "fault",
            "is_fault",
            "failure",
            "label_bnc",
            "label_mcc",
        ),
        *("machine_failure", "failure_type", "fault_type", "is_failure", "normal/attack", "is_attack", "groundtruth"),
        *("rul", "rul_cycles", "remaining_useful_life", "ttf", "time_to_failure", "max_cycle", "max_cycles"),
    )
)
"""Answers, not measurements: a detector must not see them…"""
LABEL_WORDS: Final = frozenset({"anomaly", "anomalies", "outlier", "outliers", "label", "labels", "changepoint", "rul"})
"""…nor what has one of these in its name."""
