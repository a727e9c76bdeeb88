"""How a function becomes a program for the sandbox.

By `source` its text travels: it must stand on its own, and runs on any Python that is not older
than the one needed. By `cloudpickle` closures and globals travel too, but only between the same
minor versions of Python and the same cloudpickle. Either is opened inside the sandbox alone.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import symtable
import sys
import textwrap
import threading
import types
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import msgspec

from hypermesh.sdk.function.data import NotData, pack
from hypermesh.wire.errors import InvalidInput

How = Literal["source", "cloudpickle"]

PYTHON_MIN = "3.11"
PROGRAM_BYTES_MAX = 2 << 20
ARGUMENT_BYTES_MAX = 1 << 20
RESULT_BYTES_MAX = 1 << 20
PACKAGE = "cloudpickle"

_PROGRAM = """\
import types


def module(name, text):
    made = types.ModuleType(name)
    exec(compile(text, f"<{{name}}>", "exec"), made.__dict__)
    return made


data = module("data", {data!r})
module("driver", {driver!r}).main({header!r}, {code!r}, data.pack, data.unpack)
"""

_by_value = threading.Lock()
"""cloudpickle keeps its list of modules that travel by value for the whole process."""


class FunctionUnsendable(InvalidInput):
    """A function cannot travel as it is written."""

    code = "HM-SDK-0011"
    title = "This function cannot travel"


class ValueUnsendable(InvalidInput):
    """An argument or a result is not data, or too large."""

    code = "HM-SDK-0007"
    title = "This value cannot travel"
    remedy = "Send None, bool, int, float, complex, str, bytes, list, tuple, set, dict or an array"


class Code(msgspec.Struct, frozen=True):
    """A function as it travels: a program, and how its arguments are packed."""

    name: str
    how: How
    needs: str
    program: bytes

    def arguments(self, positional: Sequence[Any], named: Mapping[str, Any]) -> bytes:
        """What the program reads from stdin. Raises `ValueUnsendable`."""
        if self.how == "cloudpickle":
            import cloudpickle

            try:
                content: bytes = cloudpickle.dumps((tuple(positional), dict(named)))
            except Exception as error:
                raise ValueUnsendable(
                    f"An argument of {self.name} cannot be pickled", why=str(error)
                ) from error
        else:
            try:
                content = pack([list(positional), dict(named)])
            except NotData as error:
                raise ValueUnsendable(
                    f"An argument of {self.name} is no data",
                    why=str(error),
                    fix='Convert it, or use @hm.function(travels="cloudpickle")',
                ) from error
        if len(content) > ARGUMENT_BYTES_MAX:
            raise ValueUnsendable(
                f"The arguments of {self.name} take {len(content)} bytes",
                why=f"at most {ARGUMENT_BYTES_MAX} travel with a call",
                fix="Send less in each call, and map over the parts",
            )
        return content

    @property
    def packages(self) -> list[str]:
        """What the sandbox must have beside the standard library."""
        return [PACKAGE] if self.how == "cloudpickle" else []


def code_of(function: Callable[..., Any], how: How) -> Code:
    """`function` as it travels. Raises `FunctionUnsendable`, saying what to write instead."""
    _check_kind(function)
    header: dict[str, Any] = {
        "how": how,
        "name": function.__name__,
        "result_bytes_max": RESULT_BYTES_MAX,
    }
    if how == "cloudpickle":
        import cloudpickle

        content = _pickled(function)
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        header |= {"python": version, "cloudpickle": cloudpickle.__version__}
        needs = f"Python {version} and cloudpickle {cloudpickle.__version__}"
    else:
        text, file, line = _source(function)
        content = text.encode()
        header |= {"python": PYTHON_MIN, "file": file, "line": line}
        needs = f"Python {PYTHON_MIN} or later"
    here = resources.files("hypermesh.sdk.function")
    program = _PROGRAM.format(
        data=(here / "data.py").read_text(),
        driver=(here / "driver.py").read_text(),
        header=header,
        code=content,
    ).encode()
    if len(program) > PROGRAM_BYTES_MAX:
        raise FunctionUnsendable(
            f"{function.__name__} takes {len(program)} bytes",
            why=f"at most {PROGRAM_BYTES_MAX} travel; what it captures is part of it",
            fix="Give large values as arguments",
        )
    return Code(function.__name__, how, needs, program)


def _check_kind(function: Callable[..., Any]) -> None:
    what = getattr(function, "__name__", repr(function))
    if not isinstance(function, types.FunctionType):
        raise FunctionUnsendable(
            f"{what} is no function of Python", why=f"it is a {type(function).__name__}",
            fix="Decorate a function made with `def`",
        )  # fmt: skip
    if inspect.iscoroutinefunction(function):
        raise FunctionUnsendable(
            f"{what} is a coroutine", fix="Call `asyncio.run(...)` inside a plain function"
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise FunctionUnsendable(f"{what} is a generator", fix="Return a list of what it yields")


def _source(function: Callable[..., Any]) -> tuple[str, str, int]:
    """The text of a function that stands on its own, its file's name, and the line it begins at."""
    name = function.__name__
    try:
        lines, first = inspect.getsourcelines(function)
        text = textwrap.dedent("".join(lines))
        tree = ast.parse(text)
    except (OSError, TypeError, SyntaxError) as error:
        raise FunctionUnsendable(
            f"The source of {name} cannot be had",
            why=str(error),
            fix='Write it in a file, or use @hm.function(travels="cloudpickle")',
        ) from error
    defined = tree.body[0]
    if not isinstance(defined, ast.FunctionDef):
        raise FunctionUnsendable(f"{name} is not made with `def`", fix="Write it with `def`")
    if len(defined.decorator_list) > 1:
        raise FunctionUnsendable(
            f"{name} has other decorators", fix="Call it from a function that has hm.function alone"
        )
    captured = function.__code__.co_freevars
    if captured:
        raise FunctionUnsendable(
            f"{name} uses {_listed(captured)} of the function around it",
            why="its text alone travels, without what it captures",
            fix='Give it as an argument, or use @hm.function(travels="cloudpickle")',
        )
    if missing := _outside(defined):
        raise FunctionUnsendable(
            f"{name} uses {_listed(missing)} from outside",
            why="its text alone travels, without the rest of its file",
            fix="Import modules inside the function, give the rest as arguments, or use "
            '@hm.function(travels="cloudpickle")',
        )
    skipped = defined.lineno - 1
    body = "".join(text.splitlines(keepends=True)[skipped:])
    return body, Path(inspect.getsourcefile(function) or "<function>").name, first + skipped


def _outside(defined: ast.FunctionDef) -> list[str]:
    """The names that a function takes from its module, sorted."""
    bare = _Bare().visit(ast.parse(ast.unparse(defined)).body[0])
    bare.decorator_list = []
    table = symtable.symtable(ast.unparse(bare), "<function>", "exec")
    wanted: set[str] = {
        symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()
    }
    waiting = list(table.get_children())
    while waiting:
        scope = waiting.pop()
        waiting += scope.get_children()
        wanted |= {symbol.get_name() for symbol in scope.get_symbols() if symbol.is_global()}
    return sorted(wanted - {defined.name} - set(dir(builtins)))


class _Bare(ast.NodeTransformer):
    """Without annotations: they are not evaluated in the sandbox."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.returns = None
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.returns = None
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        return ast.copy_location(ast.Assign([node.target], node.value), node)


def _pickled(function: Callable[..., Any]) -> bytes:
    import cloudpickle

    module = sys.modules.get(function.__module__)
    with _by_value:
        known = cloudpickle.list_registry_pickle_by_value()
        ours = module is not None and module.__name__ != "__main__" and module.__name__ not in known
        try:
            # The provider has no module of ours: by reference the function would not be found.
            if ours:
                cloudpickle.register_pickle_by_value(module)
            content: bytes = cloudpickle.dumps(function)
        except Exception as error:
            raise FunctionUnsendable(
                f"{function.__name__} cannot be pickled",
                why=str(error),
                fix="Open files and connections inside the function",
            ) from error
        finally:
            if ours:
                cloudpickle.unregister_pickle_by_value(module)
    return content


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
