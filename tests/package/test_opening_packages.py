import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from environments_for_tests import WORKERS, fixture_neuropod
from sample_packages import DOUBLING, python_neuropod, write_files

from neuropod_worker.errors import PackageError, SpecError
from neuropod_worker.package import open_package
from neuropod_worker.package.fingerprint import sweep_hashes
from neuropod_worker.problem.specs import TensorSpec

CONFIG = {
    "name": "old",
    "platform": "python",
    "input_spec": [{"name": "x", "dtype": "float32", "shape": [None, "n"]}],
    "output_spec": [],
}
LARGE = 2 << 20


def old_package(tmp_path, **changes):
    return write_files(tmp_path / "old", {"config.json": json.dumps({**CONFIG, **changes})})


def zipped(path, members):
    with zipfile.ZipFile(str(path), "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return str(path)


def test_a_device_of_what_is_no_input_is_passed_over_as_the_original_does(tmp_path):
    devices = {"x": "CPU", "no input": "GPU"}
    assert open_package(str(old_package(tmp_path, input_tensor_device=devices))).input_devices == {"x": "CPU"}


def test_keys_that_old_packages_lack_have_defaults_and_unknown_ones_are_kept(tmp_path):
    package = open_package(str(old_package(tmp_path, init_op_names={}, colour="red")))
    assert package.version_range == "*"
    assert package.custom_ops == ()
    assert package.input_devices == {"x": "GPU"}
    assert package.requirements_lock is None
    assert package.inputs == (TensorSpec("x", "float32", (None, "n")),)
    assert package.config["colour"] == "red"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"platform": None}, "'platform' must be a string, not None"),
        ({"platform_version_semver": 3}, "'platform_version_semver' must be a string, not 3"),
        ({"custom_ops": 5}, "'custom_ops' must be a list, not 5"),
        ({"custom_ops": "abc"}, "'custom_ops' must be a list, not 'abc'"),
        ({"custom_ops": ["a\0b"]}, "is no plain file name"),
        ({"input_tensor_device": "GPU"}, "input_tensor_device must be a dict of GPU or CPU by name, not 'GPU'"),
        ({"custom_ops": ["../evil.so"]}, "custom op '../evil.so' is no plain file name"),
        ({"input_tensor_device": {"x": "TPU"}}, "device of input 'x' must be GPU or CPU, not 'TPU'"),
        ({"input_spec": [{"name": "x"}]}, "input 'x' has no 'dtype'"),
    ],
)
def test_a_wrong_config_is_an_error_that_says_what(tmp_path, changes, message):
    with pytest.raises((PackageError, SpecError), match=r"old/config\.json: .*" + message):
        open_package(str(old_package(tmp_path, **changes)))


def test_what_is_no_package_is_a_package_error_with_its_path(tmp_path):
    with pytest.raises(PackageError, match="there is no package at") as caught:
        open_package(str(tmp_path / "nothing"))
    assert caught.value.path == str(tmp_path / "nothing")
    with pytest.raises(PackageError, match=r"config\.json is missing"):
        open_package(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(PackageError, match="cannot be read"):
        open_package(str(tmp_path))
    (tmp_path / "file").write_text("no zip")
    with pytest.raises(PackageError, match="/file is no neuropod package: it is neither a folder nor a zip file"):
        open_package(str(tmp_path / "file"), str(tmp_path / "cache"))


@pytest.mark.parametrize("content", [b'{"name": "\xff"}', b"[1]", b"[" * 100000])
def test_a_config_that_is_no_json_object_in_utf_8_is_a_package_error(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(PackageError, match=r"config\.json (cannot be read|must hold a JSON object)"):
        open_package(str(tmp_path))


def test_a_lock_that_is_not_utf_8_is_a_package_error(tmp_path):
    directory = old_package(tmp_path)
    write_files(directory, {"0/requirements.lock": ""})
    (directory / "0" / "requirements.lock").write_bytes(b"numpy==1.0 # \xff")
    with pytest.raises(PackageError, match=r"requirements\.lock cannot be read"):
        open_package(str(directory))


@pytest.mark.parametrize("path", [b"/bytes", 5, None, "a\0b"])
def test_a_path_that_is_none_is_a_package_error(path):
    with pytest.raises(PackageError, match="the path of a package must be a path"):
        open_package(path)


def test_what_is_neither_folder_nor_file_is_not_read(tmp_path):
    os.mkfifo(str(tmp_path / "pipe"))
    with pytest.raises(PackageError, match="neither a folder nor a regular file"):
        open_package(str(tmp_path / "pipe"), str(tmp_path / "cache"))


def test_a_cache_that_cannot_be_written_is_named_with_what_to_do(tmp_path):
    path = zipped(tmp_path / "a.zip", [("config.json", json.dumps(CONFIG))])
    (tmp_path / "cache").write_text("a file, where not even root can make a folder")
    with pytest.raises(PackageError, match=r"the cache folder .*/cache .* cannot be written.*NEUROPOD_OPE_CACHE"):
        open_package(path, str(tmp_path / "cache"))


def test_a_cache_that_cannot_be_written_does_not_matter_to_a_folder(tmp_path):
    write_files(tmp_path, {"weights": "w" * (2 << 20), "cache": "no folder"})
    data = [{"path": str(tmp_path / "weights"), "packaged_name": "weights"}]
    directory = python_neuropod(tmp_path, {"main.py": DOUBLING}, data_paths=data)
    os.utime(os.path.join(directory, "0", "data", "weights"), (1000, 1000))
    assert open_package(directory, str(tmp_path / "cache")).name == "sample"


@pytest.mark.parametrize(
    ("name", "readers"),
    [
        ("tf_addition_model", "*"),
        ("torchscript_addition_model", "<1.11"),
        ("torchscript_strings_model", "<1.11"),
    ],
)
def test_real_old_packages_open_and_say_which_versions_read_them(name, readers):
    package = open_package(str(fixture_neuropod(name)))
    assert [spec.name for spec in package.inputs] == ["x", "y"]
    assert package.version_range == readers


def test_a_zip_opens_as_its_directory_does(tmp_path):
    directory = python_neuropod(tmp_path, {"main.py": DOUBLING})
    path = python_neuropod(
        tmp_path, {"main.py": DOUBLING}, neuropod_path=str(tmp_path / "model.zip"), package_as_zip=True
    )
    package = open_package(path, str(tmp_path / "cache"))
    assert package._replace(path="", source="") == open_package(directory)._replace(path="", source="")
    assert os.path.isdir(package.file("data"))


def test_equal_zips_are_extracted_once_and_a_changed_one_again(tmp_path):
    cache = str(tmp_path / "cache")
    first = zipped(tmp_path / "a.zip", [("config.json", json.dumps(CONFIG))])
    shutil.copy(first, str(tmp_path / "b.zip"))
    where = open_package(first, cache).path
    assert open_package(str(tmp_path / "b.zip"), cache).path == where
    zipped(tmp_path / "a.zip", [("config.json", json.dumps({**CONFIG, "name": "new"}))])
    assert open_package(first, cache).name == "new"
    assert sorted(name for name in os.listdir(cache + "/packages") if not name.endswith(".lock")) == sorted(
        {os.path.basename(where), os.path.basename(open_package(first, cache).path)}
    )


def test_a_zip_needs_a_cache_dir(tmp_path):
    with pytest.raises(PackageError, match="cache_dir"):
        open_package(zipped(tmp_path / "a.zip", [("config.json", "{}")]))


@pytest.mark.parametrize(
    ("member", "problem"),
    [
        ("/etc/evil", "absolute"),
        ("..\\evil", "absolute or foreign"),
        ("C:/evil", "absolute or foreign"),
        ("0/../../evil", "not plain"),
        ("0//evil", "not plain"),
        ("config.json", "occurs twice"),
        ("config.json ", "occurs twice, but for spaces at the end"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_with_an_unsafe_member_is_refused_and_leaves_nothing(tmp_path, member, problem):
    path = zipped(tmp_path / "evil.zip", [("config.json", json.dumps(CONFIG)), (member, "x")])
    with pytest.raises(PackageError, match=problem):
        open_package(path, str(tmp_path / "cache"))
    left = [name for name in os.listdir(str(tmp_path / "cache" / "packages")) if not name.endswith(".lock")]
    assert left == []


def test_a_zip_with_a_nul_in_a_name_is_refused(tmp_path):
    path = zipped(tmp_path / "evil.zip", [("config.json", json.dumps(CONFIG)), ("0/main.pyX.txt", "x")])
    Path(path).write_bytes(Path(path).read_bytes().replace(b"main.pyX.txt", b"main.py\0.txt"))
    with pytest.raises(PackageError, match=r"main.py\\x00.txt' has a NUL in its name"):
        open_package(path, str(tmp_path / "cache"))


def test_a_zip_whose_names_are_no_text_is_a_package_error(tmp_path):
    path = zipped(tmp_path / "evil.zip", [("config.json", json.dumps(CONFIG)), ("0/\u00e9", "x")])
    Path(path).write_bytes(Path(path).read_bytes().replace("\u00e9".encode(), b"\xff\xff"))
    with pytest.raises(PackageError, match="cannot be extracted"):
        open_package(path, str(tmp_path / "cache"))


def test_a_zip_with_a_symbolic_link_is_refused(tmp_path):
    link = zipfile.ZipInfo("0/data/link")
    link.external_attr = 0o120777 << 16
    with pytest.raises(PackageError, match="is a symbolic link"):
        open_package(zipped(tmp_path / "evil.zip", [(link, "/etc/passwd")]), str(tmp_path / "cache"))


def test_a_damaged_zip_is_a_package_error(tmp_path):
    path = zipped(tmp_path / "a.zip", [("config.json", json.dumps(CONFIG))])
    content = Path(path).read_bytes()
    Path(path).write_bytes(content.replace(b'"old"', b'"odd"'))
    with pytest.raises(PackageError, match="cannot be extracted"):
        open_package(path, str(tmp_path / "cache"))


def test_rests_of_an_extraction_that_was_killed_do_not_matter(tmp_path):
    path = zipped(tmp_path / "a.zip", [("config.json", json.dumps(CONFIG))])
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    write_files(tmp_path / "cache" / "packages", {digest + ".staged/0/code/rest.py": "", digest + ".lock": ""})
    package = open_package(path, str(tmp_path / "cache"))
    assert not os.path.exists(package.file("code"))


def test_several_processes_extract_the_same_zip_at_once(tmp_path):
    members = [("config.json", json.dumps(CONFIG))] + [(f"0/data/{i}", os.urandom(1 << 16)) for i in range(50)]
    path = zipped(tmp_path / "a.zip", members)
    code = "import sys; from neuropod_worker.package import *; print(open_package(*sys.argv[1:]).path)"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, path, str(tmp_path / "cache")],
            env={**os.environ, "PYTHONPATH": str(WORKERS)},
            stdout=subprocess.PIPE,
        )
        for _ in range(4)
    ]
    places = {process.communicate()[0] for process in started}
    assert [process.returncode for process in started] == [0] * 4
    assert len(places) == 1
    assert len(os.listdir(places.pop().decode().strip() + "/0/data")) == 50


def large_zip(path, byte):
    """With a large file of that byte, last modified long ago: what changed just now is not remembered."""
    zipped(path, [("config.json", json.dumps(CONFIG)), ("0/data/blob", byte * LARGE)])
    os.utime(path, (1000, 1000))
    return str(path)


def read_so_far():
    """Bytes that this process has read."""
    return int(re.search(r"rchar: (\d+)", Path("/proc/self/io").read_text()).group(1))


def test_a_large_package_that_was_opened_before_is_not_read_again(tmp_path):
    path, cache = large_zip(tmp_path / "large.zip", b"x"), str(tmp_path / "cache")
    before = read_so_far()
    first = open_package(path, cache)
    assert read_so_far() - before > LARGE
    before = read_so_far()
    assert open_package(path, cache) == first
    assert read_so_far() - before < LARGE / 10


@pytest.mark.parametrize("replaced", [False, True])
def test_other_content_of_the_same_name_size_and_time_is_noticed(tmp_path, replaced):
    path, cache = large_zip(tmp_path / "large.zip", b"x"), str(tmp_path / "cache")
    first, size = open_package(path, cache), os.path.getsize(path)
    other = large_zip(tmp_path / "other.zip", b"y")
    if replaced:
        os.replace(other, path)
    else:
        with open(path, "r+b") as file:
            file.write(Path(other).read_bytes())
        os.utime(path, (1000, 1000))
    assert os.path.getsize(path) == size
    assert Path(open_package(path, cache).file("data", "blob")).read_bytes() == b"y" * LARGE
    assert Path(first.file("data", "blob")).read_bytes() == b"x" * LARGE


def test_hashes_of_files_that_are_gone_are_swept_and_others_kept(tmp_path):
    path, cache = large_zip(tmp_path / "large.zip", b"x"), str(tmp_path / "cache")
    open_package(path, cache)
    (memo,) = (tmp_path / "cache" / "hashes").iterdir()
    (memo.parent / "staged").touch()  # by a process that was killed
    sweep_hashes(cache)
    assert list(memo.parent.iterdir()) == [memo]
    os.unlink(path)
    sweep_hashes(cache)
    assert list(memo.parent.iterdir()) == []
    sweep_hashes(str(tmp_path / "no cache"))


def test_a_manifest_finds_changed_and_missing_files(tmp_path):
    directory = Path(python_neuropod(tmp_path, {"main.py": DOUBLING}))
    open_package(str(directory))
    code = directory / "0" / "code" / "model" / "main.py"
    (directory / "extra.txt").write_text("files that a user adds are no damage")
    open_package(str(directory))
    code.write_text(DOUBLING + "#")
    with pytest.raises(PackageError, match=r"0/code/model/main\.py is not what the manifest"):
        open_package(str(directory))
    code.unlink()
    with pytest.raises(PackageError, match=r"0/code/model/main\.py is in the manifest, but missing"):
        open_package(str(directory))
    (directory / "manifest.json").write_text('{"manifest_version": 2, "files": {}}')
    with pytest.raises(PackageError, match="not a manifest of version 1"):
        open_package(str(directory))


def test_the_manifest_of_a_zip_is_verified_when_it_is_extracted(tmp_path):
    manifest = json.dumps({"manifest_version": 1, "files": {"config.json": "0" * 64}})
    path = zipped(tmp_path / "a.zip", [("config.json", json.dumps(CONFIG)), ("manifest.json", manifest)])
    with pytest.raises(PackageError, match="is not what the manifest"):
        open_package(path, str(tmp_path / "cache"))
