"""Readings as loops take them: each with the seat that its device has in the roster of its product."""

import numpy as np

from gateway.detect.arrays import Indices, address_of
from gateway.detect.fleet import Fleet
from gateway.detect.model import Samples
from gateway.detect.native import Kernel
from gateway.detect.native.compiled import Arrived


def find_seats(kernel: Kernel | None, fleet: Fleet, roster: int, devices: Indices, samples: Samples) -> Indices | None:
    """The seats of readings, [n]; None where any of the devices has none in this roster yet."""
    if kernel is None:
        is_home = not (fleet.roster_of[devices] != roster).any()
        return fleet.seats_of(devices).take(samples.device) if is_home else None
    numbers = np.ascontiguousarray(devices, np.int64)
    device = np.ascontiguousarray(samples.device, np.int32)
    seats = np.empty(len(device) + len(numbers), np.int64)
    found = kernel.find_seats(
        *(address_of(numbers), len(numbers), address_of(device), len(device)),
        *(address_of(fleet.homes), len(fleet.homes), address_of(seats), roster),
    )
    return seats[: len(device)] if found else None


def arrive(samples: Samples, seats: Indices) -> Arrived:
    """Readings at their devices' seats."""
    return Arrived(
        seats=seats,
        ts_s=np.ascontiguousarray(samples.ts_s, np.float64),
        alive_s=np.ascontiguousarray(samples.alive_s, np.float64),  # one number, too, becomes [1]
        values=np.ascontiguousarray(samples.values, np.float64),
    )
