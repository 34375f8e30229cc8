"""``config.json``: what a package says about itself.

Reading takes every package of the original, absent keys included. Writing gives the original's bytes.
"""

import json
import os
from typing import Any, Dict, Mapping, Sequence

from neuropod_worker.errors import PackageError, SpecError
from neuropod_worker.package.arguments import listed
from neuropod_worker.package.package import Package
from neuropod_worker.problem.parsing import parse_specs
from neuropod_worker.problem.specs import TensorSpec

CONFIG = "config.json"
DEVICES = ("GPU", "CPU")


def read_json(directory: str, relative: str) -> Dict[str, Any]:
    """The JSON object in a file of a package; ``PackageError`` where there is none."""
    path = os.path.join(directory, relative)
    try:
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
    except FileNotFoundError:
        raise PackageError("{} is missing in {}".format(relative, directory), path) from None
    except (ValueError, RecursionError, OSError) as error:
        raise PackageError("{} cannot be read: {}".format(path, error), path) from error
    if not isinstance(value, dict):
        raise PackageError("{} must hold a JSON object".format(path), path)
    return value


def read_config(directory: str) -> Package:
    """The package in a directory as its ``config.json`` alone describes it.

    Raises ``PackageError`` or ``SpecError``.
    """
    raw = read_json(directory, CONFIG)
    path = os.path.join(directory, CONFIG)
    for key in ("name", "platform", "input_spec", "output_spec"):
        if key not in raw:
            raise PackageError("{} has no {!r}".format(path, key), path)
    version_range = raw.get("platform_version_semver")
    version_range = "*" if version_range in (None, "") else version_range
    for key, value in (
        ("name", raw["name"]),
        ("platform", raw["platform"]),
        ("platform_version_semver", version_range),
    ):
        if not isinstance(value, str):
            raise PackageError("{}: {!r} must be a string, not {!r}".format(path, key, value), path)
    try:
        inputs, outputs = parse_specs(raw["input_spec"], "input"), parse_specs(raw["output_spec"], "output")
    except SpecError as error:
        raise SpecError("{}: {}".format(path, error), error.tensor) from None
    devices = raw.get("input_tensor_device")
    if isinstance(devices, Mapping):  # the original reads a device of an input that there is not, and so do we
        devices = {spec.name: devices[spec.name] for spec in inputs if spec.name in devices}
    try:
        devices = input_devices(inputs, devices, "GPU")
    except PackageError as error:
        raise PackageError("{}: {}".format(path, error), path) from None
    custom_ops = raw.get("custom_ops")
    custom_ops = () if custom_ops is None else listed("{}: 'custom_ops'".format(path), custom_ops)
    for op in custom_ops:
        if not isinstance(op, str) or op != os.path.basename(op) or op in ("", ".", "..") or "\0" in op:
            raise PackageError("{}: custom op {!r} is no plain file name".format(path, op), path)
    return Package(
        path=directory,
        source=directory,
        name=raw["name"],
        platform=raw["platform"],
        version_range=version_range,
        inputs=inputs,
        outputs=outputs,
        custom_ops=custom_ops,
        input_devices=devices,
        requirements_lock=None,
        config=raw,
    )


def input_devices(inputs: Sequence[TensorSpec], given: Any, default: str) -> Dict[str, str]:
    """The device of every input: as ``given`` by name, else ``default``. Raises ``PackageError``."""
    if not isinstance(given, (Mapping, type(None))):
        raise PackageError("input_tensor_device must be a dict of GPU or CPU by name, not {!r}".format(given))
    given = dict(given or {})
    devices = {spec.name: given.pop(spec.name, default) for spec in inputs}
    if given:
        message = "input_tensor_device names no input of the model: {}"
        raise PackageError(message.format(", ".join(sorted(map(str, given)))))
    for name, device in devices.items():
        if device not in DEVICES:
            raise PackageError("the device of input {!r} must be GPU or CPU, not {!r}".format(name, device))
    return devices


def write_config(directory: str, package: Package) -> None:
    """Write ``config.json`` byte for byte as the original does: all seven keys, ``package.config`` apart."""
    content = {
        "name": package.name,
        "platform": package.platform,
        "platform_version_semver": package.version_range,
        "input_spec": [spec._asdict() for spec in package.inputs],
        "output_spec": [spec._asdict() for spec in package.outputs],
        "custom_ops": list(package.custom_ops),
        "input_tensor_device": dict(package.input_devices),
    }
    with open(os.path.join(directory, CONFIG), "w", encoding="utf-8") as file:
        json.dump(content, file, indent=4, sort_keys=True)
