"""Objects of any shape, such as Tasmota's."""

import pytest

from devices.errors import QuarantineReason
from devices.payloads import Bad, DecodedReading
from devices.payloads.flat import FlatCodec

AT_US = 1_772_346_600_000_000  # 2026-03-01T06:30:00Z


def one(payload: str) -> DecodedReading | Bad:
    (found,) = FlatCodec().decode_readings(payload.encode())
    return found


def metrics(payload: str) -> dict[str, float]:
    found = one(payload)
    assert isinstance(found, DecodedReading)
    return dict(found.metrics)


def test_a_sensor_s_message() -> None:
    payload = (
        '{"Time":"2026-03-01T07:30:00","AM2301":{"Temperature":21.4,"Humidity":55},"ENERGY":{"Power":[1,2]},'
        '"POWER":"ON","POWER2":"OFF","Wifi":{"SSId":"x","RSSI":80},"TempUnit":"C","None":null}'
    )
    assert one(payload) == DecodedReading(
        None,
        None,
        None,
        {
            "AM2301_Temperature": 21.4,
            "AM2301_Humidity": 55.0,
            "ENERGY_Power_1": 1.0,
            "ENERGY_Power_2": 2.0,
            "POWER": 1.0,
            "POWER2": 0.0,
            "Wifi_RSSI": 80.0,
        },
    )


@pytest.mark.parametrize(
    ("time", "ts_us"),
    [
        ('"Time":"2026-03-01T07:30:00"', None),  # local, and nobody says where
        ('"Time":"2026-03-01T07:30:00+01:00"', AT_US),
        ('"Time":"2026-03-01T06:30:00Z"', AT_US),
        ('"ts":1772346600000', AT_US),
        ('"timestamp":1772346600', AT_US),
        ('"time":1772346600.5', AT_US + 500_000),
        ('"Time":"2026-03-01T07:30:00.123"', None),
        ('"Time":"2026-03-01 07:30:00.123456"', None),
        ('"Time":null', None),
        ('"ts":null,"time":1772346600', AT_US),
        ('"a":1', None),
    ],
)
def test_times(time: str, ts_us: int | None) -> None:
    found = one(f'{{{time},"x":1}}')
    assert isinstance(found, DecodedReading)
    assert found.ts_us == ts_us


def test_text_that_is_a_number_counts_as_one() -> None:
    assert metrics('{"a":"21.5","b":"-3","c":"007","d":"1e5","e":"","f":"12 V","n":{"x":"4"}}') == {
        "a": 21.5,
        "b": -3.0,
        "n_x": 4.0,
    }


def test_names_that_would_become_the_same_stay_different() -> None:
    found = metrics('{"a b":1,"a/b":2,"c":3}')
    assert sorted(found.values()) == [1.0, 2.0, 3.0]
    assert found["c"] == 3.0


@pytest.mark.parametrize(
    "name",
    [
        "id",
        "device_id",
        "deviceId",
        "DeviceID",
        "deviceid",
        "Meter/id",
        "serial",
        "SerialNumber",
        "serial_no",
        "sn",
        "imei",
        "IMEI",
        "DevEUI",
        "SSId",
    ],
)
def test_an_id_made_of_digits_is_no_metric(name: str) -> None:
    assert metrics(f'{{"{name}":"123456","watts":"7.5"}}') == {"watts": 7.5}


def test_text_of_more_digits_than_are_measured_is_no_metric() -> None:
    assert metrics('{"card":"89490200001234567890","energy":"1234567.123456789","total":"999999999999999"}') == {
        "energy": 1234567.123456789,
        "total": 999999999999999.0,
    }


@pytest.mark.parametrize("name", ["humid", "grid", "number", "Liquid", "valid_number", "id_count"])
def test_a_number_in_text_under_any_other_name_is_one(name: str) -> None:
    assert list(metrics(f'{{"{name}":"12"}}').values()) == [12.0]


def test_a_number_that_is_no_text_is_a_metric_whatever_its_name() -> None:
    assert metrics('{"id":12}') == {"id": 12.0}


def test_the_firmware_is_told_by_its_name() -> None:
    found = one('{"StatusFWR":{"FwVersion":"14.2"},"x":1}')
    assert isinstance(found, DecodedReading)
    assert found.firmware == "14.2"


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("7", QuarantineReason.MALFORMED),
        ("{", QuarantineReason.MALFORMED),
        ('{"a":NaN}', QuarantineReason.NOT_A_NUMBER),
        ('{"a":1e999}', QuarantineReason.NOT_A_NUMBER),
        ('{"Time":"soon","a":1}', QuarantineReason.BAD_TIMESTAMP),
        ('{"a":' * 20 + "1" + "}" * 20, QuarantineReason.MALFORMED),
    ],
)
def test_what_cannot_be_read(payload: str, reason: QuarantineReason) -> None:
    found = one(payload)
    assert isinstance(found, Bad)
    assert found.reason is reason
