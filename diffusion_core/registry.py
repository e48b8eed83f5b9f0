"""Names of samplers, noise distributions, networks, and meanings of a network's output, and what they stand for.

A new one is a class in its folder and one line here. This module imports no other: the names are known at once, and
what a name stands for is imported when it is asked for, since that imports torch.
"""

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from diffusion_core.networks.paper import Paper
    from diffusion_core.networks.parameterisations import Parameterised
    from diffusion_core.networks.small import Mlp, Small
    from diffusion_core.noise.sigma import NoiseDistribution
    from diffusion_core.samplers.base import Sampler

T = TypeVar("T")


class LazyRegistry(Mapping[str, T], Generic[T]):
    """Name -> class or function. It is given name -> "module.attribute", with modules of `package`."""

    def __init__(self, package: str, modules: Mapping[str, str]) -> None:
        self._package = package
        self._places = modules

    def __getitem__(self, name: str) -> T:
        module, _, attribute = self._places[name].rpartition(".")
        value: T = getattr(import_module(f"{self._package}.{module}"), attribute)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def lazy_exports(package: str, names: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package that imports what it exports only when asked: module -> its names."""
    places = {name: f"{module}.{name}" for module, exports in names.items() for name in exports.split()}
    exported = LazyRegistry[object](package, places)

    def get(name: str) -> object:
        if name in exported:
            return exported[name]
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, lambda: sorted(places)


SAMPLERS: "LazyRegistry[type[Sampler]]" = LazyRegistry("diffusion_core.samplers", {
    "euler": "euler.Euler",  # DDIM at eta 0, DDPM at eta 1
    "euler-within": "euler.EulerInInterval",
    "euler-split": "euler.EulerTwoPart",
    "euler-churn": "churn.EulerChurn",
    "heun": "churn.Heun",
    "dpm++2m": "multistep.DPMpp2M",
    "dpm++2m-sde": "multistep.DPMpp2MSDE",
    "res-2m": "res.RES2M",
    "res-2s": "res.RES2S",
    "er-sde": "er_sde.ERSDE",
    "accelerated": "multistep.Accelerated",
    "restart": "restart.Restart",
    "kadkhodaie-simoncelli": "kadkhodaie_simoncelli.KadkhodaieSimoncelli",
})  # fmt: skip
NOISE_DISTRIBUTIONS: "LazyRegistry[Callable[..., NoiseDistribution]]" = LazyRegistry("diffusion_core.noise", {
    "edm": "sigma.edm",
    "edm2": "sigma.edm2",
    "jit": "sigma.jit",
    "sd3": "process_time.sd3",
    "flow-uniform": "process_time.flow_uniform",
    "log-normal": "sigma.LogNormal",
    "log-uniform": "sigma.LogUniform",
    "uniform": "sigma.Uniform",
    "log-logistic": "sigma.LogLogistic",
    "laplace": "sigma.Laplace",
    "split-log-normal": "sigma.SplitLogNormal",
    "logit-normal": "sigma.logit_normal",
    "cosine": "process_time.Cosine",
    "cosine-interpolated": "process_time.CosineInterpolated",
    "vp": "process_time.VP",
    "ddpm": "process_time.DDPM",
    "beta-times": "process_time.BetaTimes",
})  # fmt: skip
ON_PIXELS = ("vp", "ddpm", "beta-times", "sd3", "flow-uniform")  # their data_std is by default that of data in [-1, 1]
PARAMETERISATIONS: "LazyRegistry[type[Parameterised]]" = LazyRegistry("diffusion_core.networks", {
    "preconditioned": "parameterisations.Preconditioned",
    "eps": "parameterisations.Eps",
    "x0": "parameterisations.X0",
    "mixture-input": "parameterisations.MixtureInput",
})  # fmt: skip
TRUNKS: "LazyRegistry[type[Small] | type[Paper] | type[Mlp]]" = LazyRegistry("diffusion_core.networks", {
    "small": "small.Small",
    "paper": "paper.Paper",
    "mlp": "small.Mlp",
})  # fmt: skip
