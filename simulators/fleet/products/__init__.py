"""The product models that can be simulated: one module each, over the profile of the same name."""

from typing import Final

from simulators.fleet.products.coffee_machine import COFFEE_MACHINE
from simulators.fleet.products.e_bike import E_BIKE
from simulators.fleet.products.fitness_band import FITNESS_BAND
from simulators.fleet.products.product import Product
from simulators.fleet.products.washing_machine import WASHING_MACHINE

PRODUCTS: Final[tuple[Product, ...]] = (FITNESS_BAND, COFFEE_MACHINE, WASHING_MACHINE, E_BIKE)
