"""Packages with equal module names in one process, each seeing its own, the process seeing none."""

import builtins
import sys
import threading
import traceback

import numpy as np
import pytest
from sample_packages import python_package, write_files

from neuropod_worker.backends import LoadOptions, load_model
from neuropod_worker.errors import LoadError
from neuropod_worker.package import read_package

INT_OUT = [{"name": "y", "dtype": "int64", "shape": ()}]
CALLING = "def load(data):\n    from model import number\n    return lambda: {'y': number.value()}\n"


def load(tmp_path, files, options=LoadOptions(), **parameters):  # noqa: B008 - immutable
    tmp_path.mkdir(exist_ok=True)
    return load_model(python_package(tmp_path, files, output_spec=INT_OUT, **parameters), options)


def answer(model):
    return int(model.infer({})["y"])


def test_two_packages_with_equal_module_names_keep_to_themselves(tmp_path):
    models = [
        load(tmp_path / str(i), {"main.py": CALLING, "number.py": f"def value():\n    return {i}\n"}) for i in (1, 2)
    ]
    assert [answer(model) for model in models] == [1, 2]


def test_the_process_is_as_before_after_a_load(tmp_path):
    before = list(sys.path), set(sys.modules), list(sys.meta_path)
    load(tmp_path, {"main.py": CALLING, "number.py": "import model\ndef value():\n    return 1\n"})
    assert (list(sys.path), set(sys.modules), list(sys.meta_path)) == before


def test_imports_inside_functions_find_the_packages_own_modules_later(tmp_path):
    lazy = "def load(data):\n    def f():\n        {}\n        return {{'y': value()}}\n    return f\n"
    for number, statement in enumerate(
        [
            "from .number import value",
            "from model.number import value",
            "import model.number; value = model.number.value",
            "from . import number; value = number.value",
            "import model.number as n; value = n.value",
        ]
    ):
        models = [
            load(
                tmp_path / f"{number}-{i}",
                {"main.py": lazy.format(statement), "number.py": f"def value():\n    return {i}\n"},
            )
            for i in (1, 2)
        ]
        for _ in range(2):
            assert [answer(model) for model in models] == [1, 2], statement
        assert "model" not in sys.modules


def test_relative_imports_work_at_every_depth_while_loading_and_later(tmp_path):
    code = "from ..number import value\nfrom ... import top\nfrom .beside import one\n"
    code += "def load(data):\n    def f():\n        from ...later import ten\n        from . import beside\n"
    code += "        return {'y': value + top + one + beside.one + ten}\n    return f\n"
    files = {"deep/__init__.py": "", "deep/down/main.py": code, "deep/down/beside.py": "one = 1"}
    models = [
        load(
            tmp_path / str(value),
            {**files, "__init__.py": "top = 100", "deep/number.py": f"value = {value}", "later.py": "ten = 10"},
            entrypoint_package="model.deep.down.main",
        )
        for value in (1000, 2000)
    ]
    for _ in range(2):
        assert [answer(model) for model in models] == [1112, 2112]


def test_modules_of_the_application_are_displaced_for_the_load_only(tmp_path, monkeypatch):
    class Mine:
        pass

    mine = Mine()
    monkeypatch.setitem(sys.modules, "model", mine)
    model = load(tmp_path, {"main.py": CALLING, "number.py": "def value():\n    return 5\n"})
    assert sys.modules["model"] is mine
    assert answer(model) == 5
    assert sys.modules["model"] is mine


def test_two_loads_of_one_package_do_not_share_state(tmp_path):
    counting = "count = 0\ndef load(data):\n    def f():\n        global count\n        count += 1\n"
    counting += "        return {'y': count}\n    return f\n"
    package = python_package(tmp_path, {"main.py": counting}, output_spec=INT_OUT)
    first, second = load_model(package), load_model(package)
    assert [answer(first), answer(first), answer(second)] == [1, 2, 1]


def test_pickles_of_the_packages_own_classes_load_at_load_time(tmp_path):
    code = "import pickle\nclass Own:\n    pass\n"
    code += "def load(data):\n    own = pickle.loads(pickle.dumps(Own()))\n"
    code += "    return lambda: {'y': int(type(own) is Own)}\n"
    assert answer(load(tmp_path, {"main.py": code})) == 1


def test_folders_without_init_files_are_importable_and_star_and_circular_imports_work(tmp_path):
    files = {
        "main.py": "from .sub.deep import *\nfrom . import other\ndef load(data):\n    return lambda: {'y': f()}\n",
        "other.py": "from . import main\nimport model.main\n",
        "sub/deep.py": "def f():\n    from . import sibling\n    return sibling.value\n",
        "sub/sibling.py": "value = 4\n",
    }
    package = python_package(tmp_path, files, output_spec=INT_OUT)
    for init in list((tmp_path / "packaged").rglob("__init__.py")):
        init.unlink()
    assert answer(load_model(package)) == 4


def test_importing_by_name_works_while_loading(tmp_path):
    code = "import importlib\ndef load(data):\n"
    code += "    number = importlib.import_module('model.number')\n"
    code += "    return lambda: {'y': number.value()}\n"
    lazy = "def value():\n    from . import more\n    return more.value\n"
    assert answer(load(tmp_path, {"main.py": code, "number.py": lazy, "more.py": "value = 6"})) == 6


def test_a_load_may_wait_for_its_own_threads_that_import(tmp_path):
    code = (
        "import threading\ndef load(data):\n    found = []\n    def look():\n        from . import number\n"
        "        found.append(number.value)\n    thread = threading.Thread(target=look, daemon=True)\n"
        "    thread.start()\n    thread.join(30)\n    return lambda: {'y': found[0]}\n"
    )
    assert answer(load(tmp_path, {"main.py": code, "number.py": "value = 8"})) == 8


def test_a_load_of_another_package_waits_its_turn(tmp_path):
    slow = "import threading\nentered, go = threading.Event(), threading.Event()\nimport builtins\n"
    slow += "builtins.neuropod_test_gate = entered, go\ndef load(data):\n    entered.set()\n    go.wait(30)\n"
    slow += "    from . import number\n    return lambda: {'y': number.value}\n"
    files = {"main.py": slow, "number.py": "value = 1"}
    packages = [
        python_package(tmp_path / "a", files, output_spec=INT_OUT),
        python_package(
            tmp_path / "b", {"main.py": CALLING, "number.py": "def value():\n    return 2\n"}, output_spec=INT_OUT
        ),
    ]
    models = {}
    builtins.neuropod_test_gate = None
    threads = [threading.Thread(target=lambda i=i: models.update({i: load_model(packages[i])})) for i in (0, 1)]
    threads[0].start()
    while builtins.neuropod_test_gate is None:
        threads[0].join(0.001)
    entered, go = builtins.neuropod_test_gate
    assert entered.wait(30)
    threads[1].start()
    threads[1].join(0.1)
    assert 1 not in models
    go.set()
    for thread in threads:
        thread.join(30)
    del builtins.neuropod_test_gate
    assert [answer(models[i]) for i in (0, 1)] == [1, 2]


def test_a_model_may_load_another_package_while_it_loads(tmp_path):
    inner = python_package(
        tmp_path / "inner", {"main.py": CALLING, "number.py": "def value():\n    return 10\n"}, output_spec=INT_OUT
    )
    outer = (
        "from neuropod_worker.backends import load_model\nfrom neuropod_worker.package import read_package\n"
        f"def load(data):\n    inner = load_model(read_package({inner.path!r}))\n    from . import number\n"
        "    import importlib\n    late = importlib.import_module('model.late')\n"
        "    return lambda: {'y': int(inner.infer({})['y']) + number.value() + late.value}\n"
    )
    for options in (LoadOptions(), LoadOptions(own_process=True)):
        model = load(
            tmp_path / str(options.own_process),
            {"main.py": outer, "number.py": "def value():\n    return 1\n", "late.py": "value = 100"},
            options,
        )
        assert answer(model) == 111
        model.close()
    assert "model" not in sys.modules


def test_in_a_process_of_its_own_a_models_code_stays_visible_until_another_comes(tmp_path):
    by_name = "import pickle, importlib\nclass Own:\n    pass\ndef load(data):\n    def f():\n"
    by_name += "        assert type(pickle.loads(pickle.dumps(Own()))) is Own\n"
    by_name += "        return {'y': importlib.import_module('model.number').value}\n"
    by_name += "    def g():\n        try:\n            return f()\n"
    by_name += "        except (pickle.PicklingError, ImportError):\n            return {'y': -1}\n    return g\n"
    path, modules = list(sys.path), set(sys.modules)
    own = LoadOptions(own_process=True)
    first = load(tmp_path / "1", {"main.py": by_name, "number.py": "value = 1"}, own)
    assert answer(first) == 1
    assert sys.path[0] == first.package.file("code")
    second = load(tmp_path / "2", {"main.py": by_name, "number.py": "value = 2"}, own)
    assert answer(second) == 2
    assert sys.path[0] == second.package.file("code")
    for _ in range(2):
        assert (answer(first), answer(second)) == (1, 2), "each call finds its own package's code"
    first.close()
    assert answer(second) == 2
    second.close()
    assert answer(first) == answer(second) == -1, "code that is called once more does not come back"
    assert (list(sys.path), set(sys.modules)) == (path, modules)


def test_a_custom_op_is_importable_for_its_package_only(tmp_path):
    op = write_files(tmp_path / "ops", {"some_op.py": "value = 3\n"}) / "some_op.py"
    code = "def load(data):\n    import some_op\n    return lambda: {'y': some_op.value}\n"
    model = load(tmp_path, {"main.py": code}, custom_ops=[str(op)])
    assert answer(model) == 3
    assert "some_op" not in sys.modules
    with pytest.raises(LoadError, match="No module named 'some_op'"):
        load_model(model.package, LoadOptions(load_custom_ops=False))


def test_two_packages_may_bring_custom_ops_of_equal_names(tmp_path):
    code = "def load(data):\n    import some_op\n    return lambda: {'y': some_op.value}\n"
    models = []
    for i in (1, 2):
        op = write_files(tmp_path / f"ops{i}", {"some_op.py": f"value = {i}\n"}) / "some_op.py"
        own = LoadOptions(own_process=True)
        models.append(load(tmp_path / str(i), {"main.py": code}, own, custom_ops=[str(op)]))
    assert [answer(model) for model in models] == [1, 2]
    for model in models:
        model.close()


def test_a_custom_op_whose_name_is_importable_already_is_an_error(tmp_path):
    op = write_files(tmp_path / "ops", {"wave.py": "value = 3\n"}) / "wave.py"
    with pytest.raises(LoadError, match=r"custom op 'wave\.py' cannot be loaded: .* importable already"):
        load(tmp_path, {"main.py": "def load(data): pass"}, custom_ops=[str(op)])


def test_builtins_and_main_of_the_process_are_never_displaced(tmp_path):
    main = sys.modules["__main__"]
    files = {"main.py": "import time\ndef load(data):\n    return lambda: {'y': int(time.time() > 0)}\n"}
    package = python_package(tmp_path, files, output_spec=INT_OUT)
    write_files(tmp_path / "packaged" / "0" / "code", {"__main__.py": "", "time.py": "", "sys.py": ""})
    model = load_model(read_package(package.path))
    assert answer(model) == 1
    assert sys.modules["__main__"] is main


def test_source_lines_are_found_in_tracebacks(tmp_path):
    code = "def load(data):\n    def f():\n        return 1 // 0  # the line\n    return f\n"
    model = load(tmp_path, {"main.py": code})
    try:
        model.infer({})
    except ZeroDivisionError:
        assert "# the line" in traceback.format_exc()


def test_big_endian_outputs_come_native(tmp_path):
    code = "import numpy as np\ndef load(data):\n    return lambda: {'y': np.array(258, '>i8')}\n"
    output = load(tmp_path, {"main.py": code}).infer({})["y"]
    assert output.dtype == np.dtype("=i8")
    assert output == 258
