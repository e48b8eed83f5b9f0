"""A sampler as source that needs only torch: its class with the methods that `run` calls, and all that these call.

The text is that of the measured code, without annotations, docstrings and comments, so that it needs none of our names.
"""

import ast
import inspect
import math
import sys
import textwrap
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

from diffusion_core.samplers import Sampler

IMPORTED = sys.stdlib_module_names | {"torch", "numpy", "scipy"}  # packages to import; other code is written out


class UnsupportedError(Exception):
    """There is no code of a library for this setting. The message says why, in a line."""


class SamplerSource:
    """`imports`, and the `text` of constants, functions and the class, called `name`.

    UnsupportedError for a sampler that uses an object which has no text.
    """

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler
        self.name = type(sampler).__name__
        self.imports = {"import math": None, "import torch": None}  # a dict keeps the order
        self.functions = dict[str, str]()  # also constants; name -> text
        self.methods = dict[str, str]()
        self.values = dict[str, str]()
        self._add_member("run")

    @property
    def text(self) -> str:
        values = "\n".join(f"{name} = {value}" for name, value in self.values.items())
        body = "\n\n".join(filter(None, [values, *self.methods.values()]))
        return "\n\n\n".join([*self.functions.values(), f"class {self.name}:\n{textwrap.indent(body, '    ')}"])

    def _add_member(self, name: str) -> None:
        """Adds a method of the sampler, or a value that it has."""
        member = inspect.getattr_static(type(self.sampler), name, None)
        if isinstance(member, FunctionType):
            self._add_function(member, self.methods)
        else:
            self.values[name] = self._format(name, getattr(self.sampler, name))

    def _add_function(self, function: FunctionType, texts: dict[str, str]) -> None:
        if function.__name__ in texts:
            return
        texts[function.__name__] = ""  # it may call itself
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        except (OSError, SyntaxError):
            raise UnsupportedError(f"no source of {function.__qualname__}") from None
        _make_bare(tree)
        global_names = function.__globals__.keys() - {*function.__code__.co_varnames}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
                self._add_member(node.attr)
            elif isinstance(node, ast.Name) and node.id in global_names:
                self._add_global(node.id, function.__globals__[node.id])
        texts[function.__name__] = ast.unparse(tree)

    def _add_global(self, name: str, value: Any) -> None:
        module = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None) or ""
        if module.partition(".")[0] in IMPORTED and hasattr(value, "__name__"):  # not an instance, such as a logger
            origin, imported = ("", module) if isinstance(value, ModuleType) else (f"from {module} ", value.__name__)
            self.imports[f"{origin}import {imported}{f' as {name}' if name != imported else ''}"] = None
        elif isinstance(value, FunctionType):
            self._add_function(value, self.functions)
        else:
            self.functions[name] = f"{name} = {self._format(name, value)}"

    def _format(self, name: str, value: Any) -> str:
        """A number, a text, None, or a tuple of these or of simple objects, as Python."""
        if isinstance(value, tuple) and any(hasattr(item, "__dict__") for item in value):
            self.imports["from types import SimpleNamespace as namespace"] = None  # as its repr calls it
            value = tuple(SimpleNamespace(**vars(item)) for item in value)
            return repr(value)
        if isinstance(value, float) and value == math.inf:
            return "math.inf"
        text = repr(value)
        try:
            ast.literal_eval(text)
        except (SyntaxError, ValueError):
            raise UnsupportedError(f"{self.sampler.name} uses {name}, which cannot be written as text") from None
        return text


def _make_bare(tree: ast.AST) -> None:
    """Takes the docstrings, the decorators, and the annotations of arguments and results away."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
            node.decorator_list = []
            if ast.get_docstring(node) is not None:
                del node.body[0]
