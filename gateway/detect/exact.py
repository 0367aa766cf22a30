"""Exponentials and logarithms made of basic operations: the same to the last bit on every machine.

NumPy's own differ in the last digit between processors, and so would what a replay on another machine makes of the same
readings. ``native/exact.h`` has the same operations in the same order.
"""

from typing import Final

import numpy as np

from gateway.detect.arrays import Floats

LOG2_E: Final = 1.4426950408889634
LN_2: Final = 0.6931471805599453
SQRT_2: Final = 1.4142135623730951
LOWEST: Final = -2000.0  # two to the power of less is nothing
EXP2_TERMS: Final = (  # ln(2)**k / k!
    1.0,
    0.6931471805599453,
    0.24022650695910072,
    0.05550410866482158,
    0.009618129107628477,
    0.0013333558146428443,
    0.0001540353039338161,
    1.5252733804059841e-05,
    1.3215486790144307e-06,
    1.0178086009239699e-07,
    7.054911620801121e-09,
    4.4455382718708116e-10,
    2.5678435993488202e-11,
    1.3691488853904128e-12,
)
LOG_TERMS: Final = tuple(2.0 / (2 * k + 1) for k in range(10))


def exp2_of(x: Floats) -> Floats:
    """2 to the power of x, for x <= 0."""
    x = np.where(x > LOWEST, x, LOWEST)
    whole = np.floor(x + 0.5)
    g, c = x - whole, EXP2_TERMS
    g2 = g * g
    g4 = g2 * g2
    low = ((c[0] + c[1] * g) + (c[2] + c[3] * g) * g2) + ((c[4] + c[5] * g) + (c[6] + c[7] * g) * g2) * g4
    high = ((c[8] + c[9] * g) + (c[10] + c[11] * g) * g2) + (c[12] + c[13] * g) * g4
    return np.ldexp(low + high * (g4 * g4), whole.astype(np.int32))


def exp_of(x: Floats) -> Floats:
    """Euler's number to the power of x, for x <= 0."""
    return exp2_of(x * LOG2_E)


def log_of(x: Floats) -> Floats:
    """The natural logarithm of x, for x > 0."""
    part, power = np.frexp(x)
    small = part * SQRT_2 < 1.0
    part = np.where(small, part * 2.0, part)
    s = (part - 1.0) / (part + 1.0)
    s2, total = s * s, np.full(len(x), LOG_TERMS[-1])
    for term in reversed(LOG_TERMS[:-1]):
        total = total * s2 + term
    return s * total + (power - small) * LN_2
