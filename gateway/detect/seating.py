"""Readings as loops take them: each with the seat that its device has in the roster of its product."""

import numpy as np

from gateway.detect.arrays import Floats, Indices
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
    seats = np.empty(len(device), np.int64)
    found = kernel.find_seats(
        *(numbers.ctypes.data, len(numbers), device.ctypes.data, len(device)),
        *(fleet.homes.ctypes.data, len(fleet.homes), seats.ctypes.data, roster),
    )
    return seats if found else None


def arrive(samples: Samples, seats: Indices) -> Arrived:
    """Readings at their devices' seats."""
    alive_s: Floats = np.atleast_1d(np.asarray(samples.alive_s, np.float64))
    return Arrived(
        seats=seats,
        ts_s=np.ascontiguousarray(samples.ts_s, np.float64),
        alive_s=np.ascontiguousarray(alive_s),
        values=np.ascontiguousarray(samples.values, np.float64),
    )
