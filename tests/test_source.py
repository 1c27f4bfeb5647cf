"""The project runs no code that comes from data, and starts no shell."""

import ast

import pytest

from tests.conftest import REPOSITORY

FILES = sorted(path for room in ("pipeline", "jobs") for path in (REPOSITORY / room).rglob("*.py"))
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load"}
# name -> the argument that it must be given, or that no call may be given
NEEDED = {"torch.load": ("weights_only", True)}
REFUSED = {"shell": True, "allow_pickle": True, "weights_only": False}


def problems(source: str) -> list[str]:
    """Return what a file's source does that none of ours may do, as line and name."""
    found = []
    tree = ast.parse(source)
    names = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    names |= {
        alias.asname: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.asname
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [str(node.module)]
            found += [(node.lineno, name) for name in modules if MODULES & set(name.split("."))]
        elif isinstance(node, ast.Name | ast.Attribute):  # also where it is handed on and not called
            name = whole_name(node, names)
            if name in CALLS or (name or "").endswith(".cloudpickle"):
                found.append((node.lineno, str(name)))
        if isinstance(node, ast.Call):
            name = whole_name(node.func, names)
            given = {word.arg: word.value for word in node.keywords}
            argument, value = NEEDED.get(str(name), (None, None))
            if argument and not is_constant(given.get(argument), value):
                found.append((node.lineno, f"{name} without {argument}={value}"))
            for argument, value in REFUSED.items():
                if argument in given and not is_constant(given[argument], not value):
                    found.append((node.lineno, argument))
    return [f"{line}: {what}" for line, what in sorted(set(found))]


def whole_name(node: ast.AST, names: dict[str, str]) -> str | None:
    """Return a dotted name as it is called where it comes from."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute) and (above := whole_name(node.value, names)):
        return f"{above}.{node.attr}"
    return None


def is_constant(node: ast.AST | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def test_no_code_comes_from_data() -> None:
    found = {str(path.relative_to(REPOSITORY)): problems(path.read_text()) for path in FILES}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import ray.cloudpickle",
        "from ray import cloudpickle\ncloudpickle.loads(x)",
        "import ray\nray.cloudpickle.loads(x)",
        "import torch\ntorch.load(x)",
        "import torch as t\nt.load(x, weights_only=False)",
        "from torch import load\nload(x, weights_only=sure)",
        "eval(x)",
        "exec(x)",
        "list(map(eval, x))",
        "import os\nos.system(x)",
        "from os import system as run\nrun(x)",
        "import subprocess\nsubprocess.run(x, shell=True)",
        "import subprocess\nsubprocess.run(x, shell=perhaps)",
        "import numpy as np\nnp.load(x, allow_pickle=True)",
        "import yaml\nyaml.load(x)",
        "from yaml import load\nload(x, Loader)",
    ],
)
def test_what_would_run_it_is_found(source: str) -> None:
    assert problems(source)


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(x, weights_only=True)",
        "import numpy as np\nnp.load(x, allow_pickle=False)",
        "model.eval()",
        "import re\nre.compile(x)",
        "import yaml\nyaml.safe_load(x)",
        "import subprocess\nsubprocess.run(x)",
    ],
)
def test_what_runs_nothing_is_not(source: str) -> None:
    assert problems(source) == []
