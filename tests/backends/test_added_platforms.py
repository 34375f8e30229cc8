"""Platforms that installed distributions add, as this interpreter's sys.path shows them."""

import sys

import numpy as np
import pytest
from sample_packages import DOUBLING, python_package, write_files

from neuropod_worker.backends import check_platform, load_model
from neuropod_worker.backends.entry_points import providers
from neuropod_worker.errors import LoadError, PackageError

METADATA = "Metadata-Version: 2.1\nName: {}\nVersion: {}\n\nName: not this one\n"
ENTRY = "[console_scripts]\ntool = a:b\n[neuropod_ope.backends]\nCaffe = {} \n"
BACKEND = """
from neuropod_worker.backends import Backend

class Tripling(Backend):
    version = "7.1"
    def infer(self, inputs, requested):
        return {"y": inputs["x"] * 3}

def load(package, options):
    return Tripling()
"""


def distribution(folder, name="neuropod-caffe", version="1.0", loader="caffe_for_tests:load", code=BACKEND, **files):
    info = "{}-{}.dist-info".format(name.replace("-", "_"), version)
    content = {"METADATA": METADATA.format(name, version), "entry_points.txt": ENTRY.format(loader)}
    content.update({key.replace("_txt", ".txt"): value for key, value in files.items()})
    write_files(folder / info, content)
    return str(write_files(folder, {"caffe_for_tests.py": code}))


@pytest.fixture
def package(tmp_path):
    yield python_package(tmp_path, {"main.py": DOUBLING})._replace(platform="Caffe")
    sys.modules.pop("caffe_for_tests", None)


def test_a_distribution_adds_a_platform(tmp_path, package, monkeypatch):
    with pytest.raises(PackageError, match=r"supported are python, .*name that \(environment=\)"):
        check_platform(package)
    monkeypatch.syspath_prepend(distribution(tmp_path / "site"))
    check_platform(package)
    model = load_model(package)
    assert model.infer({"x": np.float32([1, 2])})["y"].tolist() == [3, 6]
    assert model.platform_version == "7.1"
    with pytest.raises(PackageError, match="'onnx' is not supported; supported are Caffe, python, "):
        check_platform(package._replace(platform="onnx"))


def test_metadata_is_found_in_every_folder_of_the_path_whatever_else_lies_there(tmp_path):
    write_files(tmp_path / "other", {"broken-1.dist-info/entry_points.txt": "[a\nneuropod_ope.backend", "x.txt": ""})
    (tmp_path / "other" / "latin-1.dist-info").mkdir()
    (tmp_path / "other" / "latin-1.dist-info" / "entry_points.txt").write_bytes(b"[\xe9]\n")
    (tmp_path / "other" / "empty-1.dist-info").mkdir()
    folders = [str(tmp_path / "no folder"), str(tmp_path / "other" / "x.txt"), str(tmp_path / "other")]
    assert providers(folders) == {}
    found = providers([*folders, distribution(tmp_path / "site", version="2.5+local")])
    assert found == {"Caffe": ("Caffe", "caffe_for_tests:load", "neuropod-caffe", "2.5+local")}


def test_what_setuptools_leaves_without_a_wheel_is_found_too(tmp_path):
    info = {"PKG-INFO": METADATA.format("caffe", "3"), "entry_points.txt": ENTRY.format("caffe.backend:load")}
    folder = write_files(tmp_path, {"caffe.egg-info/" + name: text for name, text in info.items()})
    assert providers([str(folder)])["Caffe"] == ("Caffe", "caffe.backend:load", "caffe", "3")


def test_the_first_copy_of_a_distribution_shadows_the_second(tmp_path):
    folders = [distribution(tmp_path / version, version=version) for version in ("1.0", "2.0")]
    assert providers(folders)["Caffe"].version == "1.0"


def test_two_distributions_may_not_add_one_platform(tmp_path):
    folders = [distribution(tmp_path / name, name) for name in ("neuropod-caffe", "another")]
    with pytest.raises(LoadError, match="both neuropod-caffe and another add the platform 'Caffe': uninstall"):
        providers(folders)


@pytest.mark.parametrize(
    ("code", "loader", "message"),
    [
        ("import no_such_framework", "caffe_for_tests:load", "ModuleNotFoundError: No module named 'no_such_fra"),
        ("", "caffe_for_tests:load", "has no caffe_for_tests:load that can be imported"),
        ("", "caffe_for_tests", "has no caffe_for_tests that can be imported"),
        ("def load(p, o): raise RuntimeError('bad weights')", "caffe_for_tests:load", "RuntimeError: bad weights"),
        (
            "def load(p, o): return len",
            "caffe_for_tests:load",
            "must return a .*Backend from .*, but returned builtin",
        ),
    ],
)
def test_a_backend_that_does_not_keep_the_contract_is_a_load_error_that_names_its_distribution(
    tmp_path, package, monkeypatch, code, loader, message
):
    monkeypatch.syspath_prepend(distribution(tmp_path / "site", code=code, loader=loader))
    with pytest.raises(LoadError, match=message) as caught:
        load_model(package)
    assert str(caught.value).startswith("neuropod-caffe 1.0, which adds the platform 'Caffe', ")


def test_what_a_backend_finds_wrong_with_a_package_stays_a_package_error(tmp_path, package, monkeypatch):
    code = "from neuropod_worker.errors import PackageError\ndef load(p, o): raise PackageError('no weights', p.path)"
    monkeypatch.syspath_prepend(distribution(tmp_path / "site", code=code))
    with pytest.raises(PackageError, match=r"^no weights$"):
        load_model(package)


def test_an_added_platform_does_not_replace_one_of_ours(tmp_path, monkeypatch):
    entry = ENTRY.replace("Caffe", "python").format("caffe_for_tests:load")
    monkeypatch.syspath_prepend(distribution(tmp_path / "site", entry_points_txt=entry))
    model = load_model(python_package(tmp_path, {"main.py": DOUBLING}))
    assert model.infer({"x": np.float32([1])})["y"] == [2]
