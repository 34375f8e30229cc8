"""Which platform a library was built for: the first bytes of a real program, with another machine's number."""

import sys

import pytest

from neuropod_worker.backends.custom_ops import library_platform, machine, refuse_foreign
from neuropod_worker.errors import LoadError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="libraries of Linux, told apart on Linux")

MACHINE_AT = slice(18, 20)  # e_machine of the ELF header
AARCH64, X86_64, UNKNOWN = 183, 62, 4711


def library(tmp_path, number=None):
    """This interpreter's program file, perhaps claiming another machine."""
    with open(sys.executable, "rb") as file:
        content = bytearray(file.read(4096))
    if number is not None:
        content[MACHINE_AT] = number.to_bytes(2, "little")
    path = tmp_path / "op.so"
    path.write_bytes(bytes(content))
    return str(path)


def test_a_library_of_this_machine_is_taken(tmp_path):
    refuse_foreign(library(tmp_path))


@pytest.mark.parametrize("number", [AARCH64, X86_64, UNKNOWN])
def test_a_library_of_another_machine_is_refused_and_both_are_named(tmp_path, number):
    with open(library(tmp_path), "rb") as file:
        here = library_platform(file.read(64))
    path = library(tmp_path, number)
    with open(path, "rb") as file:
        there = library_platform(file.read(64))
    if there == here:
        refuse_foreign(path)
    else:
        with pytest.raises(LoadError, match="built for {}, and this is {}".format(there, here)):
            refuse_foreign(path)


@pytest.mark.parametrize("start, system", [(b"MZ", "Windows"), (b"\xcf\xfa\xed\xfe", "macOS")])
def test_a_library_of_another_system_is_refused(tmp_path, start, system):
    path = tmp_path / "op.so"
    path.write_bytes(start + b"\0" * 100)
    with pytest.raises(LoadError, match="built for {}".format(system)):
        refuse_foreign(str(path))


def test_what_is_no_library_is_left_to_the_framework_to_refuse(tmp_path):
    for content in (b"", b"text", b"\x7fEL"):
        path = tmp_path / "op.so"
        path.write_bytes(content)
        refuse_foreign(str(path))


def test_systems_have_several_names_for_one_machine():
    assert machine("AMD64") == machine("x86_64")
    assert machine("arm64") == machine("aarch64")
