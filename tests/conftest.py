"""Tests without the user's own settings, and the time of each tier at the end of a run."""

import collections
import os

# What the user of this machine has registered is not part of the tests.
os.environ["NEUROPOD_OPE_CONFIG"] = os.path.join(os.path.dirname(__file__), "no-configuration")

TIERS = ("frameworks", "workers")  # a test with both belongs to the first


def tier_of(keywords):
    return next((tier for tier in TIERS if tier in keywords), "fast")


def pytest_terminal_summary(terminalreporter):
    seconds, counts = collections.Counter(), collections.Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if hasattr(report, "duration"):
                seconds[tier_of(report.keywords)] += report.duration
                counts[tier_of(report.keywords)] += report.when == "call"
    terminalreporter.section("time of each tier")
    for tier in ("fast", *reversed(TIERS)):
        terminalreporter.write_line(f"{tier:12} {counts[tier]:5} tests {seconds[tier]:8.1f} s")
