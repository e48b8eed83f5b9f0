"""How often `tune` finds a best setting, and at which share of the cost of measuring every setting.

    python -m bench.tune_check                              two networks, 8 evaluations, five searches: about 15 minutes
    python -m bench.tune_check --budgets 8 16 --searches 10
    python -m bench.tune_check --models checkpoint:A checkpoint:B --threads 1

`ladders` measures 20 named settings with many images: the set that cannot be told from the best is the truth. `tune`
then searches among the same settings several times, each time on other images. A search hits if what it recommends
is in that set. Everything is kept in the store, so a second call continues.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from rich.console import Console

from experiments import ladders
from experiments.engine.options import Options
from experiments.questions import Ladders, Tune
from experiments.tune import experiment as tune

STUDY = tune.PRESETS["laptop"]


def main() -> pd.DataFrame:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--budgets", type=int, nargs="+", default=[8], help="network evaluations per image")
    parser.add_argument("--searches", type=int, default=5)
    parser.add_argument("--n", type=int, default=1_660, help="images per setting for the truth; mnist5k allows 1,666")
    parser.add_argument(
        "--n-samples", type=int, default=STUDY.n_samples, help="images per setting in a search, at most"
    )
    parser.add_argument("--train-images", type=int, default=STUDY.train.images_seen)
    parser.add_argument("--train-seeds", type=int, default=2, help="networks")
    parser.add_argument("--out", type=Path, default=Path("runs/tune_check"))
    parser.add_argument("--models", nargs="+", help="networks to use, one by one, instead of training some here")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--store", default="runs/store")
    asked = parser.parse_args()
    rows = [row for number, model in enumerate(asked.models or [None]) for row in measured(model, number, asked)]
    table = pd.DataFrame(rows)
    Console(width=200).print(table.to_string(index=False), highlight=False)
    for budget, each in table.groupby("budget"):
        sizes = ", ".join(map(str, each.drop_duplicates("network")["in_set"]))
        print(
            f"{budget} evaluations: {each['hit'].sum()} of {len(each)} searches hit, the winner of the race "
            f"{each['winner_hit'].sum()}; settings in the set, of 20: {sizes}. "
            f"Share of the cost: {each['share'].mean():.1%}, of it the race {each['race_share'].mean():.1%}"
        )
    return table


def measured(model: str | None, number: int, asked: argparse.Namespace) -> Iterator[dict[str, object]]:
    """The truth about a network, and each search on it."""
    here, budgets = asked.out / f"model-{number}", tuple(asked.budgets)
    shared = {"store": asked.store, "threads": asked.threads, "model": model}
    if model is None:
        shared |= {"train_images": asked.train_images, "train_seeds": asked.train_seeds}
    whole = ladders.main(
        Ladders(ladders=STUDY.ladders, n_steps=budgets, etas=STUDY.etas, samplers=STUDY.samplers),
        Options(out=here / "truth", n_samples=asked.n, **shared),
    )
    truth = pd.read_csv(here / "truth" / "best_sets.csv")
    for seed in range(1, asked.searches + 1):
        out = here / f"search-{seed}"
        found = tune.main(
            Tune(budgets=budgets, settings=(), refine=0, search_seed=seed, export=("json",)),
            Options(out=out, n_samples=asked.n_samples, **shared),
        )
        sets = pd.read_csv(out / "best_sets.csv")
        for budget in budgets:
            yield {"network": number, **searched(budget, seed, whole, found, truth, sets)}


def searched(
    budget: int, seed: int, whole: pd.DataFrame, found: pd.DataFrame, truth: pd.DataFrame, sets: pd.DataFrame
) -> dict[str, object]:
    """One search at one budget."""
    exhaustive = cost(whole[whole["mode"] == f"{budget} evaluations"])
    mode = f"{budget} evaluations"
    race, confirmed = cost(found[found["mode"] == f"{mode}, race"]), cost(found[found["mode"] == mode])
    best = set(truth[(truth["budget"] == budget) & truth["in_set"]]["setting"])
    mine = sets[sets["budget"] == budget]
    recommended = mine[mine["simplest"].astype(bool)]["setting"].iloc[0]
    winner = mine.sort_values("value")["setting"].iloc[0]
    return {
        "budget": budget, "search": seed, "recommended": recommended, "hit": recommended in best,
        "winner": winner, "winner_hit": winner in best, "in_set": len(best),
        "share": (race + confirmed) / exhaustive, "race_share": race / exhaustive,
    }  # fmt: skip


def cost(rows: pd.DataFrame) -> float:
    """Network evaluations: the images of a later look include those of the earlier ones."""
    each = rows.groupby(["setting", "train_seed"])[["n_samples", "nfe"]].max()
    return float((each["n_samples"] * each["nfe"]).sum())


if __name__ == "__main__":
    main()
