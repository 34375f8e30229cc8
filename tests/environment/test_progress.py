import os
import pty
import signal
import sys
import threading

import pytest

from neuropod_ope.environment.progress import plain, run_shown

SAY = "import sys; sys.stderr.write({!r}); sys.stdout.write('out')"


def run(code: str, show: bool = False):  # type: ignore[no-untyped-def]
    command = [sys.executable, "-I", "-c", code]
    return run_shown(command, os.environ, show, lambda text: text.replace("secret", "***"))


def test_output_and_a_redacted_log_are_given() -> None:
    finished = run(SAY.format("one\ntwo secret\n\nthree") + "; sys.exit(3)")
    assert finished == (3, "out", ("one", "two ***", "three"))


def test_plain_lines_are_shown_when_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    run(SAY.format("Downloading secret\n"), show=True)
    assert capsys.readouterr().err == "Downloading ***\n"


def test_on_a_terminal_the_tool_has_one_too_and_its_control_sequences_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    outer, inner = pty.openpty()
    with open(inner, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        finished = run("import sys; print('\\x1b[1mtty', sys.stderr.isatty(), file=sys.stderr)", show=True)
    assert b"\x1b[1mtty True" in os.read(outer, 1000)
    assert finished.log == ("tty True",)
    os.close(outer)


def test_characters_cut_by_a_read_survive() -> None:
    code = "import os; os.write(2, b'gr\\xc3'); os.write(2, b'\\xbc\\xc3\\x9fe\\n')"
    assert run(code).log == ("grüße",)


@pytest.mark.parametrize(
    ("raw", "text"),
    [("a\rbb\r\r", "bb"), ("\x1b[2K\x1b[1A\x1b[32mok\x1b[0m", "ok"), ("  indented  ", "  indented")],
)
def test_a_line_is_what_a_terminal_would_show(raw: str, text: str) -> None:
    assert plain(raw) == text


def test_an_interrupt_ends_the_tool(request: pytest.FixtureRequest) -> None:
    # A test run in the background of a shell has SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    read_end, write_end = os.pipe()
    code = f"import os, time; os.write({write_end}, str(os.getpid()).encode()); time.sleep(600)"
    pids: list[int] = []

    def interrupt_once_it_runs() -> None:
        pids.append(int(os.read(read_end, 20)))
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    watcher = threading.Thread(target=interrupt_once_it_runs)
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        run_shown([sys.executable, "-c", code], os.environ, False, str, inherit=(write_end,))
    watcher.join()
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
    os.close(read_end)
    os.close(write_end)
