"""What the docs say is what the code does."""

import json
import re
import subprocess
import sys
from pathlib import Path

import neuropod_ope
import neuropod_worker
from neuropod_worker.wire.codec import decode, encode

ROOT = Path(__file__).parent.parent.parent


def test_the_generated_parts_are_up_to_date():
    run = subprocess.run([sys.executable, ROOT / "docs/generate.py", "--check"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_test_vectors_decode_and_encode_to_the_same_bytes():
    for vector in json.loads((ROOT / "docs/protocol-vectors.json").read_text(encoding="utf-8")):
        data = bytes.fromhex(vector["hex"])
        message = decode(data)
        assert type(message).__name__ == vector["message"]
        assert json.loads(json.dumps(message._asdict())) == vector["fields"]
        assert encode(message) == data


def test_every_public_name_is_in_the_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    elsewhere = {"Neuropod", "TensorSpec", "WorkerInfo"}  # what handles are and show, not what users call
    assert not {name for name in neuropod_ope.__all__ if not re.search(rf"\b{name}\b", text)} - elsewhere


def test_both_distributions_have_one_version():
    pinned = re.search(r'"neuropod-worker==([^"]+)"', (ROOT / "pyproject.toml").read_text()).group(1)
    packaged = re.search(r'version="([^"]+)"', (ROOT / "workers/setup.py").read_text()).group(1)
    declared = re.search(r'^version = "([^"]+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE).group(1)
    assert {pinned, packaged, declared} == {neuropod_ope.__version__} == {neuropod_worker.__version__}
