"""A device "sim" without a GPU: it computes on the CPU, refuses what a GPU refuses, and counts when a GPU would wait.

    with simulated_device() as waits:  # a Counter of (reason, "file:line"), the innermost line of this repository
        network.to("sim")(torch.zeros(2, 1, 32, 32, device="sim"), torch.ones(2, device="sim"))

It finds tensors and generators of two devices in one operation, `.numpy()` without `.cpu()`, numbers that are read,
shapes that depend on values (nonzero, masks), and transfers. It cannot find wrong numbers of a card's kernels, missing
kernels, their order, precision (autocast does nothing), memory or time. As on CUDA, a 0-d tensor of the CPU may meet
the device, and so may an index.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

if not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
    pytest.skip(f"PyTorch {torch.__version__} has no backends written in Python", allow_module_level=True)

ROOT = str(Path(__file__).parents[2])
TORCH_GENERATOR = torch.Generator
aten = torch.ops.aten
READS = dict.fromkeys([aten._local_scalar_dense, aten.equal, aten._linalg_eigh], "number read")
READS |= dict.fromkeys([aten.nonzero, aten.masked_select, aten.bincount, aten._unique2], "shape read")
INDEXING = (aten.index, aten.index_put_, aten.index_put, aten._index_put_impl_)
Waits = Counter[tuple[str, str]]
WAITS = Waits()


def is_ours(file: str) -> bool:
    """Whether it is a file of this repository, in which a virtual environment may lie, and not this one."""
    return file.startswith(ROOT) and "site-packages" not in file and file != __file__


def count_wait(reason: str):
    frame: Any = sys._getframe(1)
    while frame.f_back and not is_ours(frame.f_code.co_filename):
        frame = frame.f_back
    WAITS[reason, f"{frame.f_code.co_filename.removeprefix(ROOT)[1:]}:{frame.f_lineno}"] += 1


class Backend(backend_registration._DummyBackendModule):
    def synchronize(self, device: Any = None):
        count_wait("synchronised")

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]

    def get_rng_state(self, device: Any = None) -> Tensor:  # torch.random.fork_rng asks each backend that is registered
        return torch.empty(0, dtype=torch.uint8)

    def set_rng_state(self, state: Tensor, device: Any = None):
        pass


class SimTensor(Tensor):
    """A tensor of the device; `raw` is the tensor of the CPU that holds its values."""

    raw: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, raw: Tensor) -> "SimTensor":
        layout: Any = {"strides": raw.stride(), "storage_offset": raw.storage_offset(), "dtype": raw.dtype}
        out: SimTensor = Tensor._make_wrapper_subclass(cls, raw.size(), device="sim:0", **layout)  # type: ignore
        out.raw = raw
        return out

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return dispatch(function, args, kwargs or {})

    def tolist(self) -> Any:
        count_wait("number read")
        return self.raw.tolist()

    def numpy(self, *args: Any, **options: Any) -> Any:
        raise TypeError("can't convert sim:0 device type tensor to numpy. Use Tensor.cpu() first")


class SimGenerator(torch.Generator):
    """`torch.Generator` with a device; one for the CPU is torch's own."""

    device: torch.device  # set by `register`

    def __new__(cls, device: Any = "cpu") -> Any:
        return super().__new__(cls) if torch.device(device).type == "sim" else TORCH_GENERATOR(device)


def is_sim(value: Any) -> bool:
    return isinstance(value, SimTensor)


def unwrap(value: Any) -> Any:
    return value.raw if isinstance(value, SimTensor) else value


def dispatch(function: Any, args: Any, kwargs: Any) -> Any:
    """Runs an operation on the CPU; its result is on the device if its tensors are, or it is made there."""
    if torch.is_inference_mode_enabled() and function._can_decompose():  # in this mode, composed operations come whole
        with Operations():
            return function.decompose(*args, **kwargs)
    operation, device = function.overloadpacket, kwargs.get("device")
    tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
    on_sim = any(map(is_sim, tensors)) if device is None else torch.device(device).type == "sim"
    if operation in (aten._to_copy, aten.copy_):  # only these may change devices
        on_sim = is_sim(args[0]) if operation is aten.copy_ else on_sim
        if is_sim(args[-1]) != on_sim:
            count_wait("to the device" if on_sim else "to the host")
    elif any(map(is_sim, tensors)):
        check_devices(function, args, [value for value in tensors if not is_sim(value) and value.ndim > 0])
    options = {name: value for name, value in kwargs.items() if name not in ("pin_memory", "non_blocking", "device")}
    options |= {} if device is None else {"device": "cpu"}
    out = function(*tree_map(unwrap, args), **tree_map(unwrap, options))
    if not on_sim:
        return out
    out = out.clone() if operation is aten._to_copy and out is unwrap(args[0]) else out
    wrapped = tree_map(lambda value: SimTensor(value) if isinstance(value, Tensor) else value, out)
    return return_and_correct_aliasing(function, args, kwargs, wrapped)


def check_devices(function: Any, args: Any, on_host: list[Tensor]):
    operation = function.overloadpacket
    if operation in INDEXING and is_sim(args[0]):
        indices = [index for index in args[1] if index is not None]
        on_host = [value for value in on_host if not any(value is index for index in indices)]
        if any(index.dtype in (torch.bool, torch.uint8) for index in indices):
            count_wait("shape read")
        elif not all(map(is_sim, indices)):
            count_wait("to the device")
    if on_host:
        raise RuntimeError(f"{function}: tensors on several devices, sim:0 and cpu {tuple(on_host[0].shape)}")
    if operation in READS:
        count_wait(READS[operation])


class Operations(TorchDispatchMode):
    """Sees operations without a tensor of the device, which may make one."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(function, args, kwargs or {})


class Generators(TorchFunctionMode):
    """Compares the device of a generator, which operations do not see, with that of the tensor."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if (generator := (kwargs or {}).get("generator")) is not None:
            device = args[0].device if args and isinstance(args[0], Tensor) else kwargs.get("device") or "cpu"
            if torch.device(device).type != generator.device.type:
                raise RuntimeError(f"{function}: a generator on {generator.device} for a tensor on {device}")
        return function(*args, **(kwargs or {}))


@contextmanager
def simulated_device() -> Iterator[Waits]:
    """Makes the device usable; yields what is counted from now on."""
    register()
    WAITS.clear()
    with pytest.MonkeyPatch.context() as patch, Operations(), Generators():
        patch.setattr(torch, "Generator", SimGenerator)
        yield WAITS


def _empty(size: Any, *stride: Any, dtype: Any = None, **options: Any) -> Tensor:
    return SimTensor(torch.empty_strided(size, *stride, dtype=dtype) if stride else torch.empty(size, dtype=dtype))


def _copy(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    unwrap(target).copy_(unwrap(source))
    return target


@cache
def register() -> tuple[torch.library.Library, torch.library.Library]:
    """Makes the device known to this process, for good. What it returns must not be collected."""
    backend_registration._setup_privateuseone_for_python_backend("sim", Backend())
    SimGenerator.device = torch.device("sim:0")
    library = torch.library.Library("aten", "IMPL")  # what torch calls from C++
    for name, kernel in {"empty.memory_format": _empty, "empty_strided": _empty, "_copy_from": _copy}.items():
        library.impl(name, kernel, "PrivateUse1")
    fallbacks = torch.library.Library("_", "IMPL")
    fallbacks.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    return library, fallbacks
