from neuropod_ope.environment.explain import Findings, nothing_fits
from neuropod_ope.environment.requirement import Requirement
from neuropod_ope.environment.resolve import Attempt

NOTHING = Findings(("3.9.1", "3.8.1", "3.7.1"), None, (), (), (), False, (), ())
LOCKED = Requirement("python", "*", "tiny==9.9")


def said(found: Findings) -> list[str]:
    error = nothing_fits(LOCKED, found, "the model", ["this interpreter has no tiny"], "neuropod-ope env build M")
    return str(error).splitlines()


def test_attempts_that_failed_for_the_same_cause_are_told_together() -> None:
    no_version, no_numpy = ("error: no", "cause: no tiny", "hint: look"), ("error: no", "cause: no numpy")
    attempts = [("on 3.9", no_version), ("on 3.8", no_version), ("on 3.7", no_numpy), ("on 3.6", no_version)]
    lines = said(NOTHING._replace(attempts=tuple(Attempt(*one) for one in attempts)))
    expected = ["  tried on 3.9:", "    error: no", "    cause: no tiny", "    hint: look"]
    expected += ["  tried on 3.8, on 3.6: the same", "  tried on 3.7:", "    cause: no numpy"]
    assert lines[2:-1] == expected
    assert lines[-1].startswith("What to do: correct the pins, or name an existing interpreter")
    assert "neuropod-ope env register PATH" in lines[-1]


def test_the_command_names_the_packages_that_have_no_wheel() -> None:
    hint = "hint: Wheels are required for `{}` because building from source is disabled for all packages"
    logs = [("error: no", "cause: no wheel", hint.format(name)) for name in ("tiny", "small", "tiny")]
    lines = said(NOTHING._replace(attempts=tuple(Attempt("on 3.9", log) for log in logs)))
    assert "from source: neuropod-ope env build M --allow-source tiny --allow-source small, or" in lines[-1]
