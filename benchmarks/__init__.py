"""What a call costs, measured beside what it could be replaced by: ``python -m benchmarks``.

A new case is a line in ``__main__``; a new contender is a module here that gives ``CONTENDERS``.
"""
