"""At 1 to 8 evaluations: noise that is fresh, reused or predicted? For ordinary networks, and tuned by consistency.

    python consistency.py       # writes runs/consistency/*.csv; what is there already is not made again

Three networks choose the levels, separately for each network, noise and number of evaluations; ten others confirm.
"""

from copy import deepcopy
from dataclasses import dataclass
from itertools import combinations, pairwise, product
from math import ceil, log
from pathlib import Path

import pandas as pd
import torch
from scipy.stats import t as student
from torch import Tensor, nn
from tqdm import tqdm

from diffusion_core import Euler, LogNormal, Sampler, load, sample
from diffusion_core.samplers import RES2M
from diffusion_core.schedules import geometric, linear
from diffusion_core.tensors import computing_in
from experiments import score
from experiments.run.cache import Cache
from experiments.run.machine import Machine
from experiments.run.networks import RECIPES, Trained

OUT, STORE = Path("runs/consistency"), Path("runs/store")
DATA = "mnist5k"
EXPLORERS, CONFIRMERS = range(101, 104), range(501, 511)
HIGHEST = 30.0  # the first level, in data standard deviations
LEVELS = 0.3, 0.8, 2.0, 5.0, 12.0  # from which the last step to 0 begins
FAMILIES = {"geometric": geometric, "linear": linear}


@dataclass(frozen=True)
class Renoise(Sampler):
    """From the denoised images to the next level with fresh noise, or with the noise in which sampling began.

    Source: Song et al. 2023, arXiv 2303.01469, Algorithm 1: multistep consistency sampling, whose noise is fresh.
    """

    reused: bool = False

    def run(self, eps, x, sigmas, noise):
        first = x / sigmas[0]
        for sigma, after in pairwise(sigmas):
            x = x - sigma * eps(x, sigma)
            if after > 0:
                x = x + after * (first if self.reused else noise())
            yield x


NOISES = {"predicted": Euler(0.0), "fresh": Renoise(), "reused": Renoise(reused=True)}


def tune(model: nn.Module, images: Tensor, n_images: int = 100_000, batch: int = 64, lr: float = 4e-4) -> None:
    """Tunes eps = model(x, sigma) in place so that the denoised images of one noise agree at all levels.

    Source: Geng et al. 2024, arXiv 2406.14548 (ECT): levels, the second level of a pair and the weight; the distance
        is pseudo-Huber's, with the constant of Song & Dhariwal 2023, arXiv 2310.14189.
    """
    draw, n_steps = torch.Generator().manual_seed(0), ceil(n_images / batch)
    levels = LogNormal(-1.1 + log(2), 2.0)  # the paper's data have a standard deviation of 0.5, these 1
    constant = 0.00054 * images[0].numel() ** 0.5
    weights = [*model.parameters()]
    averages = [weight.detach().clone() for weight in weights]
    adam = torch.optim.AdamW(weights, lr, (0.9, 0.99), weight_decay=0.0, fused=True)

    def denoised(x: Tensor, sigma: Tensor) -> Tensor:
        with computing_in("bf16", x.device):
            return x - sigma.view(-1, 1, 1, 1) * model(x, sigma.clamp(min=1e-3)).float()

    for step in tqdm(range(n_steps), "tuning", mininterval=10):
        x0 = images[torch.randint(len(images), (batch,), generator=draw)]
        eps = torch.randn(x0.shape, generator=draw)
        sigma = levels.sample(batch, draw, stratified=True).clamp(max=HIGHEST)
        closer = (1 + 8 * torch.sigmoid(-sigma / 2)) / 2 ** ceil(8 * (step + 1) / n_steps)
        second = sigma * (1 - closer).clamp(min=0)
        with torch.no_grad():
            target = denoised(x0 + second.view(-1, 1, 1, 1) * eps, second)  # at level 0: x0
        error = (denoised(x0 + sigma.view(-1, 1, 1, 1) * eps, sigma) - target).square().sum((1, 2, 3))
        loss = (((error + constant**2).sqrt() - constant) / (sigma - second)).mean()
        adam.param_groups[0]["lr"] = lr * min((step + 1) / 100, 1 - step / n_steps)
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        adam.step()
        with torch.no_grad():
            torch._foreach_lerp_(averages, weights, 1 - min(0.999, (step + 1) / (step + 10)))
    with torch.no_grad():
        torch._foreach_copy_(weights, averages)


def networks(seed: int) -> tuple[Trained, dict[str, nn.Module]]:
    """The config of a network, and the network itself: ordinary, from the store, and tuned."""
    config = Trained(DATA, seed, Machine(precision="bf16"), images_seen=100_000, **RECIPES["fast"])
    ordinary = config.load(config.artifact(Cache(STORE), lambda _: None))
    tuned, file = deepcopy(ordinary), OUT / f"{seed}.pt"
    if not file.exists():
        tune(tuned, load(DATA).standardised())
        torch.save(tuned.state_dict(), file)
    tuned.load_state_dict(torch.load(file))
    return config, {"ordinary": ordinary, "tuned": tuned}


def measure(seed: int, settings: pd.DataFrame, n: int) -> pd.DataFrame:
    """The settings, one a row, with the scores of n samples each, from the same noise, and their standard deviation."""
    config, models = networks(seed)
    rows = []
    for row in tqdm(settings.to_dict("records"), f"network {seed}", mininterval=10):
        nfe, last = int(row["nfe"]), row["last"]
        sigmas = (*(FAMILIES[row["family"]](nfe - 1, HIGHEST, last) if nfe > 1 else (HIGHEST,)), 0.0)
        start = 10_000 * (row["section"] == "A/A")  # other samples of the same network
        made = sample(
            models[row["network"]], sigmas, {**NOISES, "res-2m": RES2M()}[row["noise"]],
            samples=range(start, start + n), shape=config.shape, seed=seed,
        )  # fmt: skip
        (values,) = score(DATA, config.decode(made).numpy(), store=STORE).values.values()
        of_images = {"std": float(made.std()), "mmd": values["mmd"].value, "fd": values["fd"].value}
        rows.append(row | {"seed": seed} | of_images)
    return pd.DataFrame(rows)


def measure_all(name: str, seeds: range, settings: pd.DataFrame, n: int) -> pd.DataFrame:
    for seed in seeds:
        file = OUT / f"{name}-{seed}.csv"
        done = pd.read_csv(file).fillna({"section": ""}) if file.exists() else settings.head(0)
        left = settings[~settings.apply(tuple, axis=1).isin([*done[settings.columns].apply(tuple, axis=1)])]
        if len(left):
            pd.concat([done, measure(seed, left, n)]).to_csv(file, index=False)
    table = pd.concat([pd.read_csv(OUT / f"{name}-{seed}.csv") for seed in seeds])
    table.to_csv(OUT / f"{name}.csv", index=False)
    return table


def interval(values: pd.Series) -> dict[str, float]:
    """The mean over networks with its 95 % interval (Student's t), and the p value of no difference."""
    mean, se, freedom = values.mean(), values.std() / len(values) ** 0.5, len(values) - 1
    half = student.ppf(0.975, freedom) * se
    p = 2 * student.sf(abs(mean) / se, freedom)
    return {"difference": mean, "low": mean - half, "high": mean + half, "p_value": p}


def differences(table: pd.DataFrame) -> pd.DataFrame:
    """MMD of one noise minus another's, over the same networks; p corrected for all of them (Holm)."""
    rows = []
    for (network, nfe), group in table[table.nfe > 1].groupby(["network", "nfe"]):
        mmd = group.pivot(index="seed", columns="noise", values="mmd")
        pairs = combinations([noise for noise in ("reused", "fresh", "predicted") if noise in mmd], 2)
        rows += [
            {"network": network, "nfe": nfe, "a": a, "b": b, "metric": "mmd", **interval(mmd[a] - mmd[b])}
            for a, b in pairs
        ]
    found = pd.DataFrame(rows).sort_values("p_value", ignore_index=True)
    found["p_adjusted"] = (found["p_value"] * (len(found) - found.index)).cummax().clip(upper=1)
    return found


@torch.no_grad()
def residuals(seed: int, n: int = 500) -> list[dict]:
    """How much of the noise is left in the denoised images, by level: the correlation of denoised - x0 with eps.

    For an optimal denoiser E<denoised - x0, eps> = E|denoised - x0|^2 / sigma; `optimal` is that correlation.
    """
    draw = torch.Generator().manual_seed(seed)
    x0 = load(DATA).standardised()[:n]
    eps = torch.randn(x0.shape, generator=draw)
    rows = []
    for (name, model), sigma in product(networks(seed)[1].items(), geometric(8, HIGHEST, 0.1)):
        error = -sigma * (model(x0 + sigma * eps, torch.full((n,), sigma)) - eps)
        rms = error.square().mean().sqrt()
        correlation = (error * eps).mean() / (rms * eps.square().mean().sqrt())
        rows.append({"network": name, "seed": seed, "sigma": sigma})
        rows[-1] |= {"correlation": float(correlation), "optimal": float(rms / sigma), "rms": float(rms)}
    return rows


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    one = [("", network, "predicted", 1, "geometric", 0.0) for network in ("ordinary", "tuned")]
    more = product([""], ["ordinary", "tuned"], NOISES, [2, 4, 8], FAMILIES, LEVELS)
    columns = ["section", "network", "noise", "nfe", "family", "last"]
    grid = pd.DataFrame([*one, *(s for s in more if s[3] > 2 or s[4] == "geometric")], columns=columns)
    explored = measure_all("explored", EXPLORERS, grid, 300)
    means = explored.groupby(columns, as_index=False, dropna=False)["mmd"].mean().fillna({"section": ""})
    chosen = means.loc[means.groupby(["network", "noise", "nfe"])["mmd"].idxmin(), columns]
    again = chosen.query("nfe == 4 and noise == 'predicted'").assign(section="A/A")
    beside = pd.DataFrame([("beside", "ordinary", "res-2m", n, "linear", 0.03) for n in (8, 66)], columns=columns)
    table = measure_all("scores", CONFIRMERS, pd.concat([chosen, again, beside]), 1000)
    differences(table[table.section.isna()]).to_csv(OUT / "differences.csv", index=False)
    pd.DataFrame([row for seed in CONFIRMERS for row in residuals(seed)]).to_csv(OUT / "residuals.csv", index=False)


if __name__ == "__main__":
    main()
