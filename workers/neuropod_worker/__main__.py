"""The worker program, started by path: ``serve ...`` (with ``-I``) or ``run-once ...``.

Adopts its own folder as the package ``neuropod_worker``, so that ``sys.path`` stays what a start without a program
gives: nothing of ours shadows a module of the model, nothing that lies beside us leaks in.
"""

import importlib.util
import os
import sys


def _adopt_own_folder() -> None:
    folder = os.path.dirname(os.path.abspath(__file__))
    if sys.path[:1] == [folder]:  # without -I
        del sys.path[0]
    spec = importlib.util.spec_from_file_location(
        "neuropod_worker", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["neuropod_worker"] = module
    spec.loader.exec_module(module)


def main() -> None:
    _adopt_own_folder()
    mode, arguments = sys.argv[1], sys.argv[2:]
    if mode == "serve":
        from neuropod_worker import serve

        serve.main(arguments)
    elif mode == "run-once":
        from neuropod_worker import run_once

        run_once.main(arguments)
    else:
        sys.exit("neuropod_worker: unknown mode {!r}; there are serve and run-once".format(mode))


if __name__ == "__main__":
    main()
