"""The noise schedule of flow matching: even steps in its time t, the share of noise in (1 - t) x0 + t noise.

Its noise level in units of the network's images is t / (1 - t). Here sigma is in data standard deviations: that level
divided by `data_std`, see vp.py.
"""

from diffusion_core.fields import check_positive
from diffusion_core.schedules.sigma import check_ladder
from diffusion_core.schedules.vp import DATA_STD

SIGNAL = 1e-3  # share of the image in the first level: sigma would be infinite at t = 1


def flow(
    n_steps: int, sigma_max: float, sigma_min: float, *, shift: float = 1.0, data_std: float = DATA_STD
) -> tuple[float, ...]:
    """The ladder of a flow's Euler loop, t = 1, 1 - 1/n, ..., 1/n with n = n_steps + 1; its last step, to 0, follows.

    Args:
        sigma_max, sigma_min: ignored: n sets the ends.
        shift: s in t -> s t / (1 + (s - 1) t), above 0; above 1 it takes more steps at high noise.
        data_std: see the top of this file.

    Raises:
        ValueError: shift or data_std not above 0; levels that do not decrease.

    Source: Esser et al. 2024, arXiv 2403.03206, Eq. 23; diffusers' FlowMatchEulerDiscreteScheduler.
    Note: the first level has t = 0.999, since sigma is infinite at 1.
    """
    check_positive("shift", shift)
    check_positive("data_std", data_std)
    even = [1 - step / (n_steps + 1) for step in range(1, n_steps + 1)]
    times = [1 - SIGNAL, *(shift * t / (1 + (shift - 1) * t) for t in even)]
    sigmas = tuple(t / (1 - t) / data_std for t in times)
    check_ladder(sigmas)
    return sigmas
