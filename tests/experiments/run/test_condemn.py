"""A difference between what is stored and what is made again condemns everything that the same code made."""

import json
import multiprocessing
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from run_acting import FORK, QUIET
from run_spine import data, exact, files, imported, run, score, trained, warned
from torch import Tensor

from diffusion_core.samplers import Euler, Heun, euler
from experiments.run import artifact, execute, foreign
from experiments.run.cache import Cache
from experiments.run.foreign import Foreign
from experiments.run.networks import Network
from experiments.run.plan import Run

MINE = """
from dataclasses import dataclass
from itertools import pairwise
from diffusion_core.samplers import Sampler
from helper_xyz import GAIN

@dataclass(frozen=True)
class Mine(Sampler):
    power: float = 1.0
    def run(self, eps, x, sigmas, noise):
        for sigma, after in pairwise(sigmas):
            x = x + (after - sigma) * eps(x, sigma)
            yield x * GAIN ** self.power
"""


def work_on(runs: list[Run], root: Path, workers: int = 1) -> tuple[list[dict[str, Any]], Cache]:
    """The scores of runs, as a new command makes them."""
    cache = Cache(root)
    ended = execute.execute(runs, cache, QUIET, workers=workers)
    assert not ended.failed and not ended.interrupted
    return [score(one, cache) for one in runs], cache


def planned(folder: Path, gain: float) -> list[Run]:
    """Runs of a user's sampler and of ours with two networks, and of ours with a third."""
    mine = imported(folder, mine=MINE, helper=f"GAIN = {gain}\n").Mine
    runs = [run(mine(power), exact(seed), label=str(power)) for power in (0.0, 1.0) for seed in (0, 1)]
    return [*runs, *(run(Euler(eta), exact(seed)) for eta in (0.0, 0.5) for seed in (0, 1, 2))]


@pytest.mark.slow
def test_an_edited_helper_condemns_what_the_sampler_made(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also the runs of power 0, which do not depend on it, and those of one network with our sampler."""
    before, _ = work_on(planned(folder, 1.0), folder / "old")
    assert not warned(caplog)
    runs = planned(folder, 0.8)
    after, cache = work_on(runs, folder / "old")
    fresh, _ = work_on(runs, folder / "new")
    changed = [one != two for one, two in zip(before, after, strict=True)]
    assert after == fresh and changed == [False] * 2 + [True] * 2 + [False] * 6
    texts = warned(caplog)
    assert "samples of Mine(power=1), drawn again, differ" in texts[0] and "6 samples, 6 scores" in texts[0]
    assert "6 scores were made again" in texts[1] and "differ by up to 0.24" in texts[1]
    made = {one for one in runs if cache.path("samples", one) in cache.made}
    guilty = {one.network for one in made if one not in runs[:4]}
    assert len(guilty) == 1 and made == {*runs[:4], *(one for one in runs if one.network in guilty)}
    again, cache = work_on(planned(folder, 0.8), folder / "old")
    assert again == after and not cache.made and not warned(caplog)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_workers_condemn_it_too(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiprocessing, "get_context", lambda name: FORK)
    work_on(planned(folder, 1.0), folder / "old")
    runs = planned(folder, 0.8)
    after, cache = work_on(runs, folder / "old", workers=2)
    texts = warned(caplog)
    assert any("drawn again, differ" in text for text in texts) and any(
        "scores were made again" in text for text in texts
    )
    assert not cache.made  # what the workers made is what is read
    assert after == work_on(runs, folder / "new")[0]


@pytest.mark.slow
@pytest.mark.parametrize("new", [False, True])
def test_stored_and_new_values_meet_only_if_they_agree(
    folder: Path, new: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A change below the tolerance of single images, above rounding on average."""
    before, _ = work_on(planned(folder, 1.0)[2:4], folder / "old")
    runs = planned(folder, 1.003)[0 if new else 2 : 4]
    after, _ = work_on(runs, folder / "old")
    assert (after[-2:] == before) != new and bool(warned(caplog)) == new
    assert not new or after == work_on(runs, folder / "new")[0]


@pytest.mark.slow
def test_what_a_replaced_function_of_ours_made_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of a sampler of ours one run is checked, and then the others too."""
    runs = [run(Euler(eta)) for eta in (0.0, 0.5, 0.8)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(euler, "alpha_beta", lambda sigma, sigma_next, eta: (0.3, 0.0))
        poisoned, _ = work_on(runs, tmp_path / "old")
    after, cache = work_on(runs, tmp_path / "old")
    assert after == work_on(runs, tmp_path / "new")[0] and not any(one in poisoned for one in after)
    assert len(cache.discarded) == 6 and "drawn again, differ" in warned(caplog)[0]


def test_a_check_that_fails_is_a_failure_and_keeps_what_is_stored(folder: Path) -> None:
    work_on(planned(folder, 1.0)[:1], folder / "old")
    own = run(imported(folder, mine=MINE, helper="GAIN = 'gone'\n").Mine(0.0))
    cache = Cache(folder / "old")
    ended = execute.execute([own], cache, QUIET)
    assert "TypeError" in ended.failed[own.score_id] and files(cache) == {"references": 1, "samples": 1, "scores": 1}


START = "import torch\nfrom diffusion_core import GaussianDenoiser\nexact = GaussianDenoiser()\n"
READS = {  # a model that reads gain_xyz.py in a way that its identity does not show, and values there
    "every second image": (
        "from gain_xyz import GAIN\nclass Labelled:\n    takes_index = True\n"
        "    def __call__(self, x, sigma, *, index):\n"
        "        return exact(x, sigma) * torch.where(index % 2 == 1, GAIN, 1.0).view(-1, 1, 1, 1)\n"
        "eps = Labelled()\n",
        1,
        0.5,
    ),
    "a band of sigma": (
        "from gain_xyz import GAIN\ndef eps(x, sigma):\n"
        "    return exact(x, sigma) * (1 + GAIN * ((sigma > 0.5) & (sigma < 10))).view(-1, 1, 1, 1)\n",
        0,
        0.3,
    ),
    "exec": ("exec(open('gain_xyz.py').read())\ndef eps(x, sigma): return GAIN * exact(x, sigma)\n", 1, 0.9),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", READS)
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_what_a_network_reads_is_met_when_it_changes(
    name: str, folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, before, after = READS[name]
    monkeypatch.setattr(foreign, "_content", lru_cache(lambda *_: "0"))  # as if nothing showed that it was edited
    runs, scores = [run(Euler(eta), Foreign("python:mine_xyz:eps", "0", data=data())) for eta in (0.0, 0.5)], []
    for where, gain in (("old", before), ("old", after), ("new", after), ("old", after)):
        imported(folder, mine=START + text, gain=f"GAIN = {gain}\n")
        scores.append(work_on(runs, folder / where)[0])
    assert scores[0] != scores[1] == scores[2] == scores[3]
    assert len([said for said in warned(caplog) if "drawn again, differ" in said]) == 1


def resealed(path: Path, change: Callable[[dict[str, Tensor], dict[str, Any]], None]) -> None:
    """Exchanges what a file holds, with right checksums."""
    metadata, content = artifact.opened(path.read_bytes())
    tensors, facts = artifact.tensors_of(path, content), json.loads(metadata["facts"])
    change(tensors, facts)
    parts = artifact.sealed(tensors, facts, metadata["config"], json.loads(metadata["sources"]))
    path.write_bytes(b"".join(parts))


@pytest.mark.slow
def test_an_exchanged_network_condemns_all_that_it_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    networks: list[Network] = [trained(), trained(1)]
    runs = [run(sampler, network) for network in networks for sampler in (Euler(0.0), Euler(1.0))]
    before, first = work_on(runs, tmp_path)
    path, other = (first.path("networks", network) for network in networks)
    weights = first.known[other].tensors  # type: ignore[union-attr]
    facts = first.known[other].facts  # type: ignore[union-attr]
    resealed(path, lambda tensors, known: (tensors.update(weights), known.update(first=facts["first"]))[0])
    after, second = work_on(runs, tmp_path)
    assert after == before
    texts = warned(caplog)
    assert len(texts) == 2 and "1 networks, 2 samples, 2 scores" in texts[0]
    assert "agree with the stored ones to 0.0001, as by rounding" in texts[1]
    remade = [way for one in runs[:2] for way in (("samples", one), ("scores", (one, one.reference)))]
    assert second.made == {path, *(second.path(*way) for way in remade)}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["references", "samples", "scores"])
def test_exchanged_values_condemn_their_makers(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of samples all of one run; so what is checked by chance hits it."""
    runs = [run(Euler(eta)) for eta in (0.0, 1.0)] + [run(Heun(), exact(1))]
    before, first = work_on(runs, tmp_path)

    def change(tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        for name in tensors.keys() & {"features", "samples"}:
            tensors[name] = tensors[name].flip(0)
        facts |= {name: 1.01 * facts[name] for name in facts.keys() & {"mmd"}}

    if kind == "references":
        resealed(first.path(kind, runs[0].reference), change)
    for one in runs[:2]:  # all that Euler made, or the spot check might choose the other run
        if kind != "references":
            resealed(first.path(kind, one if kind == "samples" else (one, one.reference)), change)
    after, second = work_on(runs, tmp_path)
    assert after == before and not second.discarded.keys() - second.made
    gone = {path.parent.name for path in second.discarded}
    assert gone == {"references", "samples", "scores"} - {"scores": {"samples"}, "samples": {"references"}}.get(
        kind, set()
    )
    assert (second.path("samples", runs[2]) in second.discarded) == (kind == "references")
    assert "made again" in warned(caplog)[0]


def test_each_network_and_each_class_of_samplers_is_checked(tmp_path: Path) -> None:
    runs = [run(Euler(eta), exact(seed)) for eta in (0.0, 0.5, 1.0) for seed in (0, 1)] + [run(Heun())]
    cache = Cache(tmp_path)
    assert execute.due(runs, cache) == (frozenset(), frozenset())
    for one in runs:
        cache.cached("samples", one, lambda: ({}, {}))
    for _ in range(5):
        spot, mixed = execute.due(runs, cache)
        chosen = [one for one in runs if one.samples_id in spot]
        assert {one.network.seed for one in chosen} == {0, 1} and runs[-1] in chosen and not mixed
        assert 2 <= len(chosen) <= 3
    _, mixed = execute.due([*runs, run(Euler(0.7), exact(2))], cache)
    assert mixed == {one.samples_id for one in runs[:-1]}  # Euler makes new samples, Heun does not
