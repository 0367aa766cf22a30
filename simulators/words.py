"""Words for people, that several simulators print."""


def count(number: int, noun: str) -> str:
    """1 device, 2 devices."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
