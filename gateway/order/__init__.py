"""Time and order: messages that never came, clocks that are off, and alarms that late readings correct."""
