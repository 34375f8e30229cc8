"""The rows of the matrix: every file of tests/locks, and the model that is packaged for it."""

from pathlib import Path

from environments_for_tests import LOCKS, locked_environment, python_of, run_with
from packaging.requirements import Requirement
from sample_packages import python_neuropod

NAMES = sorted(path.stem for path in LOCKS.glob("*.txt"))
MODELS = Path(__file__).parent / "models"
SPECS = {
    "input_spec": [{"name": "x", "dtype": "float32", "shape": ("n", 3)}],
    "output_spec": [{"name": "y", "dtype": "float32", "shape": ("n", 2)}],
}
# A lock's name begins with its framework; the suite of that framework runs under it.
SCRIPTS = {"torch": "package_torch.py", "tf": "package_tensorflow.py"}
SUITES = {"torch": "tests/backends/torchscript_suite.py", "tf": "tests/backends/tensorflow_suite.py"}


def framework(name):
    return name.partition("-")[0]


def version_of(name, *distributions):
    """What a lock pins."""
    pins = map(Requirement, (LOCKS / f"{name}.txt").read_text(encoding="utf-8").split())
    return next(str(pin.specifier)[2:] for pin in pins if pin.name in distributions)


def packaged(name, folder):
    """The model, packaged in the locked environment; a Keras model is Python code, packaged with the lock itself."""
    if framework(name) == "keras":
        header = f"# made with Python {python_of(name)}\n"
        lock = header + (LOCKS / f"{name}.txt").read_text(encoding="utf-8")
        return keras_package(folder, requirements=lock)
    return packaged_by(locked_environment(name), SCRIPTS[framework(name)], folder)


def packaged_by(python, script, folder):
    path = str(folder / "packaged.neuropod")
    run_with(python, MODELS / script, path)
    return path


def keras_package(folder, **parameters):
    code = (MODELS / "keras_model.py").read_text(encoding="utf-8")
    return python_neuropod(folder, {"main.py": code}, model_name="affine", **parameters, **SPECS)


def loaded(runtime, name, folder):
    """The model in a worker: of the locked environment, or of the one that its own lock makes."""
    package = packaged(name, folder)
    if framework(name) == "keras":
        return runtime.load(package, out_of_process=True)
    return runtime.load(package, out_of_process=True, environment=locked_environment(name))
