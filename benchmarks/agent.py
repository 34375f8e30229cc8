"""A process that measures what it is told to: the far side of `agents`.

A request is a line of JSON on stdin, ``[function, arguments]``, a function being ``module:name`` below
``benchmarks.measurements``; the reply is a line, ``["result", value]``, ``["missing", reason]`` or
``["failed", traceback]``. What is printed meanwhile, by whomever, goes to stderr.
"""

import importlib
import json
import logging
import os
import sys
import traceback
from typing import Any

from benchmarks.figures import NotPossible


def main() -> None:
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    logging.disable()  # workers that die on purpose are figures
    for line in sys.stdin:
        function, arguments = json.loads(line)
        print(json.dumps(_reply(function, arguments)), file=replies, flush=True)


def _reply(function: str, arguments: dict[str, Any]) -> tuple[str, Any]:
    module, _, name = function.partition(":")
    try:
        return "result", getattr(importlib.import_module(f"benchmarks.measurements.{module}"), name)(**arguments)
    except NotPossible as reason:
        return "missing", str(reason)
    except Exception:  # whatever a contender raises is reported where the others' figures are
        return "failed", traceback.format_exc()


if __name__ == "__main__":
    main()
