"""Does something before one chosen line of the code that sends and takes messages.

A step is "number:function:line": the line of a function below, the first time that it is reached after so many
messages were begun. Which steps there are is recorded in a run in which nothing happens: every line of the handshake,
and of the mailboxes every line before which the shared memory is another than before the last such line.

Works in the process that takes the steps: a client, or a worker that was started as

    PYTHON -I stepping.py ORDER .../neuropod_worker/__main__.py serve SOCKET_FD [FOLDER ...]

ORDER is a file of JSON, ``{"record": path}`` or ``{"kill before": step}``. The first worker that finds it takes it;
others run undisturbed. A record has a line for each step, and one for each message: its number, "sent" or "received",
its kind, model and request. Standard library only.

Lines of Python are what is stepped through, so `without_native_code` comes before the first import of the library.
What native code does is a call of each function of a mailbox, in the same order.
"""

import contextlib
import importlib.util
import json
import os
import signal
import sys

BEGIN = ("put", "send_repeated", "take", "taken", "send", "receive")  # a message each
OF_A_MAILBOX = ("put", "send_repeated", "take", "taken", "wake", "fall_asleep", "wake_up")
ON_THE_SOCKET = ("send", "receive")


def without_native_code():
    sys.modules["neuropod_worker._native"] = None


class Stepper:
    """``before(step)`` is called before every step, in the thread that is about to take it; ``note(line)`` for every
    line of a record."""

    def __init__(self, before, note):
        self._before = before
        self._note_line = note
        self._steps = set()
        self._begun = 0
        self._codes = {}
        self._memory = None  # the control segment, once it is mapped
        self._repeated = {}  # the words that were looked at last, by mailbox
        self._words_of_an_infer = 0
        self._seen = b""

    def install(self, control, channel, *speakers):
        """Into this process. ``speakers`` are the modules that encode what they put and decode what they took."""
        for owner, names in ((control.Mailbox, OF_A_MAILBOX), (channel, ON_THE_SOCKET)):
            for name in names:
                self._step_through(owner, name)
        for module in (channel, *speakers):
            ahead = module is not channel  # a message of a mailbox is encoded before it is put
            self._listen(module, "encode", lambda message, data, ahead=ahead: self._note(ahead, "sent", message))
            self._listen(module, "decode", lambda data, message: self._note(0, "received", message))
        self._words_of_an_infer = len(control.REPEATED_INFER.fields)
        self._note_sends(control.Mailbox)
        self._listen(control.Mailbox, "repeated", self._look)
        self._listen(control.Mailbox, "taken", self._take)
        self._listen(
            control, "request_mailbox", lambda mapping, *_: self._map(mapping.buffer(0, control.CONTROL_SIZE))
        )

    def _step_through(self, owner, name):
        original = getattr(owner, name)
        self._codes[original.__code__] = name

        def stepped(*arguments, **options):
            looking = name == "take" and not arguments[0].arrived  # which is no step
            if looking or sys.gettrace() is not None:  # called by one that is stepped through
                return original(*arguments, **options)
            self._begun += name in BEGIN
            sys.settrace(self._trace)
            try:
                return original(*arguments, **options)
            finally:
                sys.settrace(None)

        setattr(owner, name, stepped)

    def _trace(self, frame, event, argument):
        return self._trace_line if frame.f_code in self._codes else None

    def _trace_line(self, frame, event, argument):
        step = f"{self._begun}:{self._codes[frame.f_code]}:{frame.f_lineno}"
        if event == "line" and step not in self._steps:
            memory = bytes(self._memory or b"")
            if memory != self._seen or not memory:
                self._seen = memory
                self._steps.add(step)
                self._note_line(step)
                self._before(step)
        return self._trace_line

    def _map(self, memory):
        self._memory = memory

    def _listen(self, owner, name, note):
        original = getattr(owner, name)

        def listening(*arguments, **options):
            result = original(*arguments, **options)
            note(*arguments, result)
            return result

        setattr(owner, name, listening)

    def _note(self, ahead, way, message):
        if hasattr(message, "protocol") or hasattr(message, "request"):  # not bytes, nor where bytes lie
            number, kind = self._begun + ahead, type(message).__name__
            self._note_line([number, way, kind, getattr(message, "model", 0), getattr(message, "request", 0)])

    def _note_sends(self, mailboxes):
        original = mailboxes.send_repeated

        def noting(mailbox, bell, *words):
            self._note_words(1, "sent", words)  # first: once it is sent, another thread may take the reply
            original(mailbox, bell, *words)

        mailboxes.send_repeated = noting

    def _look(self, mailbox, words):
        self._repeated[mailbox] = words

    def _take(self, mailbox, result):
        words = self._repeated.pop(mailbox, None)
        if words is not None:  # others are noted when they are decoded
            self._note_words(0, "received", words)

    def _note_words(self, ahead, way, words):
        kind = "Infer" if len(words) == self._words_of_an_infer else "Result"
        self._note_line([self._begun + ahead, way, kind, *words[1:3]])


def recorder(path):
    """Appends lines, so that what was recorded is there whatever becomes of the process."""

    def note(line):
        if path is not None:
            with open(path, "a") as file:
                file.write(json.dumps(line) + "\n")

    return note


def read_record(path):
    """The steps and the messages."""
    with open(path) as file:
        lines = [json.loads(line) for line in file if line.endswith("\n")]
    os.unlink(path)
    return [line for line in lines if type(line) is str], [line for line in lines if type(line) is list]


def kill_before(wanted):
    def before(step):
        if step == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    return before


def main(order_path, program, *arguments):
    """A worker."""
    spec = importlib.util.spec_from_file_location("worker_program", program)
    worker_program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(worker_program)
    worker_program._adopt_own_folder()
    sys.path.extend(arguments[2:])
    without_native_code()
    from neuropod_worker import serve, server
    from neuropod_worker.shm import channel, control

    order = {}
    with contextlib.suppress(FileNotFoundError), open(order_path) as file:
        os.unlink(order_path)
        order = json.load(file)
    if order:
        Stepper(kill_before(order.get("kill before")), recorder(order.get("record"))).install(
            control, channel, server
        )
    serve.main(arguments[1:])


if __name__ == "__main__":
    main(*sys.argv[1:])
