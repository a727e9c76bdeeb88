"""The typed stub of the extension module says what the module holds."""

from __future__ import annotations

import ast
import inspect
import types
from pathlib import Path

import hypermesh
from hypermesh import _native

STUB = Path(hypermesh.__file__).with_name("_native.pyi")

Names = dict[str, "list[str] | None"]
"""Names of parameters of what is callable; `None` for a property, or where Python cannot tell."""


def written(body: list[ast.stmt]) -> Names:
    found: Names = {}
    for node in body:
        if isinstance(node, ast.FunctionDef):
            decorators = {item.id for item in node.decorator_list if isinstance(item, ast.Name)}
            arguments = [argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)]
            if node.name != "__init__":
                found[node.name] = None if "property" in decorators else arguments
    return found


def held(names: dict[str, object]) -> Names:
    found: Names = {}
    for name, value in names.items():
        if name.startswith("_"):
            continue
        value = value.__func__ if isinstance(value, staticmethod) else value
        found[name] = None if isinstance(value, types.GetSetDescriptorType) else parameters(value)
    return found


def parameters(value: object) -> list[str]:
    assert callable(value)
    return list(inspect.signature(value).parameters)


def drift(stub: str, module: dict[str, object]) -> list[str]:
    """Where the stub and the module differ."""
    tree = ast.parse(stub).body
    classes = {node.name: node for node in tree if isinstance(node, ast.ClassDef)}
    held_classes = {
        name: value for name, value in module.items() if isinstance(value, type) and name[0] != "_"
    }
    functions = {
        name: value
        for name, value in module.items()
        if isinstance(value, types.BuiltinFunctionType) and name[0] != "_"
    }
    found = [f"class {name}" for name in set(classes) ^ set(held_classes)]
    pairs = [("", written(tree), held(functions))]
    pairs += [
        (f"{name}.", written(classes[name].body), held(dict(vars(held_classes[name]))))
        for name in set(classes) & set(held_classes)
        if not issubclass(held_classes[name], BaseException)
    ]
    for prefix, stubbed, real in pairs:
        found += [f"{prefix}{name}" for name in set(stubbed) ^ set(real)]
        found += [
            f"{prefix}{name}: {stubbed[name]} against {real[name]}"
            for name in set(stubbed) & set(real)
            if stubbed[name] != real[name]
        ]
    return sorted(found)


def test_the_stub_and_the_module_agree() -> None:
    assert drift(STUB.read_text(), dict(vars(_native))) == []


def test_drift_is_seen() -> None:
    stub = STUB.read_text()
    module = dict(vars(_native))
    assert drift(stub.replace("def writev(", "def write_many("), module) == [
        "StoqStream.write_many",
        "StoqStream.writev",
    ]
    assert drift(stub.replace("class StoqStream", "class StoqPipe"), module)
    assert drift(stub.replace("next_epoch: int", "epoch: int"), module)


def test_every_class_is_frozen() -> None:
    """No attribute can be set, so no state of ours is changed outside its own locks."""
    for name, found in vars(_native).items():
        if isinstance(found, type) and not issubclass(found, BaseException):
            setters = [
                attribute
                for attribute, value in vars(found).items()
                if isinstance(value, types.MemberDescriptorType)
            ]
            assert not setters, name
            assert "__dict__" not in vars(found), name
