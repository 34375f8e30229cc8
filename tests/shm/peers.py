"""A second process for tests: a forked child that shares what the test has mapped."""

import os
import tempfile
import traceback

try:
    from neuropod_ope.client.segments import SEGMENT_KINDS
except (ImportError, SyntaxError):  # on an old Python, where only the worker's side runs

    def unlinked_file(size):
        descriptor, path = tempfile.mkstemp(dir="/dev/shm")
        os.unlink(path)
        os.ftruncate(descriptor, size)
        return descriptor

    SEGMENT_KINDS = {"posix": unlinked_file}


class Peer:
    """Runs ``work`` in a forked child; ``finish`` waits for it and passes on how it ended."""

    def __init__(self, work):
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                work()
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)

    def finish(self):
        _, status = os.waitpid(self.pid, 0)
        assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0, f"the peer ended with {status}"
