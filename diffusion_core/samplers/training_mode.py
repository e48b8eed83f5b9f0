"""Whether a model is in training mode where it matters: dropout and batch normalisation then change its output."""

import warnings

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm

from diffusion_core.samplers.checked import Model


def warn_of_training_mode(model: Model) -> None:
    """Warns the caller of `sample` if the model is in training mode where it matters, and not meant to be random."""
    changed = changed_by_training_mode(model)
    if changed and getattr(model, "random", False) is not True:
        more = f"and {len(changed) - 1} more are" if len(changed) > 1 else "is"
        warnings.warn(
            f"model: {changed[0]} {more} in training mode, which changes the samples; call .eval() on the model. If it "
            "is meant to be random, give it an attribute random = True",
            stacklevel=4,  # the caller of `sample`, behind the wrapper of no_grad
        )


def changed_by_training_mode(model: Model) -> list[str]:
    """The modules of a model whose output is another one because they are in training mode, such as "net.1 (Dropout)".

    Modules that a function calls are not seen.
    """
    modules = model.named_modules() if isinstance(model, nn.Module) else iter(())
    return [
        f"{name or 'it'} ({type(module).__name__})"
        for name, module in modules
        if module.training
        and (
            isinstance(module, _BatchNorm | nn.RReLU)
            or (isinstance(module, _InstanceNorm) and module.track_running_stats)
            or (isinstance(module, _DropoutNd) and module.p > 0)
            or (isinstance(module, nn.MultiheadAttention | nn.RNNBase) and module.dropout > 0)
        )
    ]
