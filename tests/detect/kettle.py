"""A product of which each alarm can be told by looking at the data."""

from typing import Final

KETTLE: Final = """
model = "kettle"
title = "A kettle"
[metrics.heat]
kind = "gauge"
unit = "Cel"
[[watches]]
name = "hot"
detector = "threshold"
metric = "heat"
parameters = { above = 100, clear_below = 90 }
"""
"""A profile with a limit and nothing else; more watches can stand behind it."""
