"""Types of arguments that several commands have."""

import argparse


def seconds(text: str) -> float:
    """A time to wait. What is not above 0 is a usage error."""
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value
