# vp, eta 1: 8 network evaluations per image
# Units: standard deviations of the data: pixels from 0 to 255 are 70.2915 x + 25.6381
import math
import torch

# standard deviation of the noise in x = image + sigma * noise, at each level
SIGMAS = [
    30.0, 15.551529385823498, 8.702374854230595, 5.192914568365983, 3.2357982409461434,
    2.0355288010452552, 1.2163966137431728, 0.5875196896042932, 0.03
]
# what the network is told at these levels
TIMES = [
    30.0, 15.551529385823498, 8.702374854230595, 5.192914568365983, 3.2357982409461434,
    2.0355288010452552, 1.2163966137431728, 0.5875196896042932, 0.03
]
ETA = 1.0  # 0 is DDIM, 1 is DDPM


@torch.no_grad()
def sample(net, noise):
    """net(z, time) is your network; noise() draws unit noise, for instance torch.randn(16, 1, 32, 32)."""

    def eps(x, i):  # the unit noise in x
        z = x
        out = net(z, torch.full((len(z),), TIMES[i], device=z.device))[:, : z.shape[1]].to(x.dtype)
        return out

    x = SIGMAS[0] * noise()
    for i, (now, after) in enumerate(zip(SIGMAS, SIGMAS[1:])):
        up = ETA * after * math.sqrt(1 - (after / now) ** 2)  # standard deviation of the fresh noise
        x = x + (math.sqrt(max(after**2 - up**2, 0.0)) - now) * eps(x, i)
        if up > 0:
            x = x + up * noise()
    return x
