"""Code packaged as a model and loaded, in every way there is."""

from sample_packages import python_neuropod

from neuropod_ope import Runtime

# Every way to run a model; the contract tests run over all of them.
WAYS = {
    "in process": {"out_of_process": False},
    "worker": {"out_of_process": True},
    "worker, memfd": {"out_of_process": True, "segment": "memfd"},
    "worker, portable twins": {"out_of_process": True, "portable": True},
}

# Every executor: the same, and several workers for one model.
EXECUTORS = {**WAYS, "two workers": {"out_of_process": True, "instances": 2}}


class Loader:
    """Packages code as a model and loads it; closes its runtime at the end."""

    def __init__(self, tmp_path, out_of_process, instances=1, **policy):
        self.tmp_path = tmp_path
        self.runtime = Runtime(cache_dir=tmp_path / "cache", **policy)
        self.out_of_process = out_of_process
        self.instances = instances
        self.count = 0

    def package(self, code, inputs, outputs, **parameters):
        self.count += 1
        folder = self.tmp_path / f"model{self.count}"
        folder.mkdir()
        return python_neuropod(
            folder, {"main.py": code}, input_spec=specs(inputs), output_spec=specs(outputs), **parameters
        )

    def __call__(self, code, inputs, outputs, **options):
        return self.load(self.package(code, inputs, outputs), **options)

    def load(self, path, **options):
        return self.runtime.load(
            path, **{"out_of_process": self.out_of_process, "instances": self.instances, **options}
        )


def specs(tensors):
    """{"x": ("float32", (None,))} as a list of specs."""
    return [{"name": name, "dtype": dtype, "shape": shape} for name, (dtype, shape) in tensors.items()]
