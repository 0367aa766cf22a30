"""A benchmark of usage faults: persons' devices in hourly data, with faults whose beginning is known."""
