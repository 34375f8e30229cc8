"""What an index offers becomes candidates: pure."""

from neuropod_ope.environment.catalog import parse_catalog
from neuropod_ope.environment.interpreters import Interpreter
from neuropod_ope.environment.offered import IndexFile, is_for_this_machine, offered_candidates
from neuropod_ope.environment.requirement import Requirement

CATALOG = parse_catalog("""
[tensorflow]
distributions = ["tensorflow", "tensorflow-cpu", "tf-nightly"]
offered = ["tensorflow-cpu", "tensorflow", "tf-nightly"]
source = ["termcolor"]
[tensorflow.versions."2.2.0"]
pythons = ["3.8"]
""")
PYTHONS = [
    Interpreter(f"/{version}", version, "cpython", "", "", "glibc", True)
    for version in ("3.12.1", "3.9.18", "3.8.18", "3.8.2")
]


def wheels(*names: str, uploaded: str = "2021-02-01T10:00:00Z", requires_python: str = "") -> list[IndexFile]:
    return [IndexFile(f"{name}.whl", requires_python, uploaded) for name in names]


def chosen(version_range: str, prerelease: bool = False, **files: list[IndexFile]) -> list[tuple[str, str]]:
    requirement = Requirement("tensorflow", version_range, None, prerelease)
    by_name = {name.replace("_", "-"): files.get(name, []) for name in ("tensorflow_cpu", "tensorflow", "tf_nightly")}
    found = offered_candidates(requirement, CATALOG["tensorflow"], by_name, PYTHONS)
    return [(one.requirements[0], one.interpreter.version) for one in found]


def test_a_wheel_goes_to_the_newest_interpreter_that_can_install_it_then_to_the_others() -> None:
    files = wheels("tensorflow-2.4.0-cp38-cp38-linux_x86_64", "tensorflow-2.4.0-cp39-cp39-linux_x86_64")
    assert chosen("2.4.x", tensorflow=files) == [("tensorflow==2.4.0", "3.9.18"), ("tensorflow==2.4.0", "3.8.18")]


def test_a_pure_wheel_goes_where_its_requires_python_allows() -> None:
    files = wheels("tensorflow-2.4.0-py3-none-any", requires_python=">=3.9")
    assert [version for _, version in chosen("*", tensorflow=files)] == ["3.12.1", "3.9.18"]


def test_of_several_distributions_the_preferred_one_is_taken_where_it_has_a_wheel() -> None:
    both = {
        "tensorflow": wheels("tensorflow-2.4.0-cp38-cp38-linux_x86_64", "tensorflow-2.4.0-cp39-cp39-linux_x86_64"),
        "tensorflow_cpu": wheels("tensorflow_cpu-2.4.0-cp38-cp38-linux_x86_64"),
    }
    assert chosen("*", **both) == [("tensorflow==2.4.0", "3.9.18"), ("tensorflow-cpu==2.4.0", "3.8.18")]


def test_of_a_minor_release_the_newest_is_tried_and_minors_come_newest_first() -> None:
    files = wheels(*(f"tensorflow-{version}-cp312-cp312-linux_x86_64" for version in ("2.4.0", "2.10.0", "2.4.4")))
    assert chosen("*", tensorflow=files) == [("tensorflow==2.10.0", "3.12.1"), ("tensorflow==2.4.4", "3.12.1")]


def test_what_the_catalog_lists_is_left_to_it() -> None:
    assert chosen("*", tensorflow=wheels("tensorflow-2.2.0-cp38-cp38-linux_x86_64")) == []


def test_releases_come_before_pre_releases_that_are_allowed() -> None:
    files = {
        "tf_nightly": wheels("tf_nightly-2.6.0.dev20260101-py3-none-any"),
        "tensorflow": wheels("tensorflow-2.5.0-cp312-cp312-linux_x86_64"),
    }
    assert chosen(">=2.3", **files) == [("tensorflow==2.5.0", "3.12.1")]
    assert chosen(">=2.3", True, **files)[:2] == [
        ("tensorflow==2.5.0", "3.12.1"),
        ("tf-nightly==2.6.0.dev20260101", "3.12.1"),
    ]
    assert chosen(">=2.6.0-dev", **files)[0] == ("tf-nightly==2.6.0.dev20260101", "3.12.1")


def test_packages_are_those_of_eight_weeks_after_the_upload_if_it_is_known() -> None:
    def cut(uploaded: str) -> list[str]:
        files = {"tensorflow": wheels("tensorflow-2.4.0-cp38-cp38-linux_x86_64", uploaded=uploaded)}
        found = offered_candidates(Requirement("tensorflow", "*", None), CATALOG["tensorflow"], files, PYTHONS)
        assert found[0].source == ("termcolor",)
        return [one.exclude_newer for one in found]

    assert cut("2021-02-01T10:00:00.123456Z") == ["2021-03-29"]
    assert cut("") == [""]


def test_a_local_version_is_asked_for_by_its_public_one() -> None:
    files = wheels("tensorflow-2.4.0+cpu-cp38-cp38-linux_x86_64")
    assert chosen("*", tensorflow=files) == [("tensorflow==2.4.0", "3.8.18")]


def test_wheels_of_other_machines_and_what_is_no_wheel_name_are_no_candidates() -> None:
    bad = wheels(
        "tensorflow-2.4.0-cp38-cp38-win_amd64", "tensorflow-nonsense", "tensorflow-2.4.0-cp27-cp27mu-linux_x86_64"
    )
    assert chosen("*", tensorflow=bad) == []
    assert [is_for_this_machine(file) for file in bad] == [False, False, True]
    assert is_for_this_machine(wheels("tensorflow-2.4.0-py3-none-any")[0])
