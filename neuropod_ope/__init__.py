"""Run any deep-learning model, each in the framework version that it needs, behind one call.

::

    model = load_neuropod("detector.neuropod", out_of_process=True)
    boxes = model.infer({"image": image})["boxes"]
"""

from neuropod_ope.capsule import Capsule, read_capsule
from neuropod_ope.client.executor import WorkerInfo
from neuropod_ope.client.health import Health, Progress
from neuropod_ope.errors import (
    EnvironmentBuildError,
    HandleClosed,
    InferTimeout,
    LoadError,
    ModelError,
    NeuropodError,
    NoMatchingEnvironment,
    PackageError,
    ProtocolViolation,
    QueueFull,
    SharedMemoryExhausted,
    SpecError,
    WorkerDied,
)
from neuropod_ope.model import Neuropod
from neuropod_ope.packaging import (
    create_keras_neuropod,
    create_python_neuropod,
    create_pytorch_neuropod,
    create_tensorflow_neuropod,
    create_torchscript_neuropod,
    randomify_neuropod,
)
from neuropod_ope.replay import replay_capsule
from neuropod_ope.runtime import Runtime, load_neuropod
from neuropod_ope.sample_data import read_test_data
from neuropod_ope.shared_worker import SharedWorker
from neuropod_ope.supervisor.events import Event
from neuropod_ope.supervisor.restart import RestartPolicy
from neuropod_ope.supervisor.startup import Startup
from neuropod_worker.package.tensors_file import SampleData
from neuropod_worker.problem.specs import TensorSpec
from neuropod_worker.serialization import deserialize, serialize

__version__ = "0.1.0"

__all__ = [
    "Capsule",
    "EnvironmentBuildError",
    "Event",
    "HandleClosed",
    "Health",
    "InferTimeout",
    "LoadError",
    "ModelError",
    "Neuropod",
    "NeuropodError",
    "NoMatchingEnvironment",
    "PackageError",
    "Progress",
    "ProtocolViolation",
    "QueueFull",
    "RestartPolicy",
    "Runtime",
    "SampleData",
    "SharedMemoryExhausted",
    "SharedWorker",
    "SpecError",
    "Startup",
    "TensorSpec",
    "WorkerDied",
    "WorkerInfo",
    "create_keras_neuropod",
    "create_python_neuropod",
    "create_pytorch_neuropod",
    "create_tensorflow_neuropod",
    "create_torchscript_neuropod",
    "deserialize",
    "load_neuropod",
    "randomify_neuropod",
    "read_capsule",
    "read_test_data",
    "replay_capsule",
    "serialize",
]
