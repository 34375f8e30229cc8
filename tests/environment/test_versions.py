import pytest

from neuropod_ope.environment.versions import RangeError, check_range, in_range, to_semver
from neuropod_worker.package.arguments import version_range


@pytest.mark.parametrize(
    ("version", "semver"),
    [
        ("1.1.0", "1.1.0"),
        ("1.4", "1.4.0"),
        ("3", "3.0.0"),
        ("2.1.0.3", "2.1.0"),
        ("2.13.0+cpu", "2.13.0"),
        ("1.5.0.post2", "1.5.0"),
        ("2.0.0rc1", "2.0.0-rc.1"),
        ("2.0a3", "2.0.0-a.3"),
        ("2.0b3", "2.0.0-b.3"),
        ("2.22.0.dev20260101", "2.22.0-dev.20260101"),
        ("2.16.0.dev20260101+cpu", "2.16.0-dev.20260101"),
        ("3.14.0a1+", "3.14.0-a.1"),
    ],
)
def test_a_pep_440_version_counts_as_a_semantic_version(version: str, semver: str) -> None:
    assert to_semver(version) == semver


def test_what_is_no_version_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="not a PEP 440 version"):
        to_semver("nightly")


@pytest.mark.parametrize(
    ("version_range", "inside", "outside"),
    [
        ("*", ["1.1.0", "2.13.0+cpu"], ["2.0.0rc1", "2.22.0.dev1"]),
        ("", ["1.1.0"], ["2.0.0rc1"]),
        ("1.1.x", ["1.1.0", "1.1.9.post1"], ["1.2.0", "1.0.1"]),
        ("^1.4", ["1.4.0", "1.12.1"], ["1.3.9", "2.0.0"]),
        ("~1.4.1", ["1.4.1", "1.4.9"], ["1.5.0", "1.4.0"]),
        (">=1.1 <1.5", ["1.1.0", "1.4.9"], ["1.5.0"]),
        (">= 1.1   < 1.5", ["1.1.0", "1.4.9"], ["1.5.0"]),
        ("1.1.0 - 1.4.0", ["1.1.0", "1.4.0"], ["1.4.1"]),
        ("1.1 || >=2", ["1.1.3", "2.0.0"], ["1.2.0"]),
        ("2.13.0+cpu", ["2.13.0", "2.13.0+cu126"], ["2.13.1"]),
        (">=2.0.0-rc.1", ["2.0.0rc1", "2.0.0rc2", "2.0.0", "2.1.0"], ["2.0.0b1", "2.1.0rc1"]),
        (">=2.22.0-dev.5", ["2.22.0.dev6", "2.22.0"], ["2.22.0.dev4", "2.23.0.dev6"]),
    ],
)
def test_versions_lie_in_a_range_as_npm_has_it(version_range: str, inside: list[str], outside: list[str]) -> None:
    assert [version for version in inside if not in_range(version, version_range)] == []
    assert [version for version in outside if in_range(version, version_range)] == []


@pytest.mark.parametrize(
    ("wrong", "right"), [(">=1.1,<1.5", "'>=1.1 <1.5'"), ("==1.1.0", "'1.1.0'"), ("~=1.4.2", "'~1.4.2'")]
)
def test_a_range_written_for_pip_is_an_error_that_shows_npms_spelling(wrong: str, right: str) -> None:
    with pytest.raises(RangeError, match="write " + right):
        check_range(wrong)


def test_nonsense_is_an_error_without_a_guess() -> None:
    with pytest.raises(RangeError) as caught:
        check_range("newest")
    assert "; write" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["*", "", "x", "1.4.x", "^1.4", "~1", ">=1.1 <1.5", ">= 1.1", "1.2 - 1.4", "1.x || 2.x", "v1.2.3-rc.1+cpu"],
)
def test_what_is_read_as_a_range_may_be_packaged(text: str) -> None:
    check_range(text)
    assert version_range("platform_version_semver", text) == text
