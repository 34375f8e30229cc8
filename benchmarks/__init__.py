"""What a call costs, measured beside what it could be replaced by: ``python -m benchmarks [SUITE ...]``.

Cases (``cases``) say what is sent, contenders (``contenders/``) how it gets to a worker and back, measurements
(``measurements/``) what is timed, suites (``suites/``) which of these are combined, and ``report``, ``plots`` and
``verdicts`` what is made of the figures. A new case or contender is a line in a table; a new suite is a module here.

Measurements run in agents: processes that stay for the whole run, one per virtualenv, because peers live in
virtualenvs of their own, and because a measured client is then pinned, loaded and limited without the rest.
"""
