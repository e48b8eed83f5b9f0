"""Which other reading of a model is better: it gains at some levels more than it loses, and makes none doubtful."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion_core.adapters import Adapter
from diffusion_core.samplers import Model
from experiments.console import ProgressCallback, silent
from experiments.own.alternatives import Alternative
from experiments.own.batch import Batch
from experiments.own.best_linear import limit

LOOKS = ((2, 12), (8, 4))  # images per level of a look at readings, and how many of them stay for the next look
SURE, CLEAR = 4.0, 1.01  # errors differ clearly by this many standard errors, and by this factor
LARGE = 0.05  # a gain, as the mean logarithm over levels, that outweighs losses at single levels
UNIT, MOST = 0.1, 1e3  # errors below UNIT times the best linear predictor's are alike, and so are those above MOST
LEAST = 1e-6  # the smallest error of a linear predictor that ratios are taken of


@dataclass(frozen=True)
class Reading:
    """An alternative, and the model's errors if it is read so (levels, images)."""

    way: Alternative
    errors: Tensor


class Readings:
    """Readings of a model on the same images and noise. Errors are (levels, images), NaN at levels not known to all.

    Args:
        errors: those of the model as it is.
        linear: the best linear predictor's error at each level.
        progress: called with the share of the work that is done.
    """

    def __init__(
        self, model: Model, batch: Batch, errors: Tensor, linear: Sequence[float], progress: ProgressCallback = silent
    ) -> None:
        self.model, self.batch, self.known, self.progress = model, batch, known(model, batch.sigmas), progress
        self.unit = UNIT * torch.tensor(linear, dtype=torch.float64).clamp(min=LEAST).view(-1, 1)
        self.limits = torch.tensor([limit(error) for error in linear], dtype=torch.float64)
        self.errors = self._comparable(errors, model)

    def best(self, alternatives: Sequence[Alternative]) -> Reading | None:
        """The best reading that is clearly better, of equals the first; None if there is none."""
        helpful = [reading for reading in self._ranked(alternatives) if self.helps(reading)]
        equals = [reading for reading in helpful if not self._better(helpful[0], reading.errors)]
        return min(equals, key=lambda reading: alternatives.index(reading.way), default=None)

    def doubtful(self, reading: Reading | None = None) -> Tensor:
        """The levels (levels,) whose error is doubtful, in a reading or as it is."""
        return (reading or self).errors.mean(dim=1) > self.limits

    def helps(self, reading: Reading) -> bool:
        """Whether a reading is better than the model as it is, and than if the network returned 0."""
        nothing = reading.way.read(_nothing(self.model))
        thanks = self._gain(reading.errors, self.batch.errors(nothing)).nanmean() > 0
        return self._better(reading, self.errors) and bool(thanks)

    def _ranked(self, choices: Sequence[Alternative]) -> list[Reading]:
        """The best readings by their errors, which are smaller than the model's: best first."""

        def size(reading: Reading) -> float:
            return self._gain(reading.errors, self.errors).nanmean().item()

        looks, done, left = [*LOOKS, (self.errors.shape[1], len(choices))], 0, len(choices)
        total = sum(n * min([left, *(kept for _, kept in looks[:place])]) for place, (n, _) in enumerate(looks))
        for n, kept in looks:
            readings = list[Reading]()
            for way in choices:
                readings += filter(None, [self._read(way, n)])
                done += n
                self.progress(done / max(total, 1))
            readings.sort(key=size, reverse=True)
            choices = [reading.way for reading in readings[:kept]]
        return [reading for reading in readings if size(reading) > 0]

    def _read(self, way: Alternative, n: int | None = None) -> Reading | None:
        """The model read so, for the first n images. None if it fails, or knows less than half of the same levels."""
        try:
            model = way.read(self.model)
            errors = self._comparable(self.batch.errors(model, n), model)
        except Exception:  # the network may have no answer to what it was never meant to be asked
            return None
        return Reading(way, errors) if 2 * (~errors[:, 0].isnan()).sum() > self.known.sum() else None

    def _comparable(self, errors: Tensor, model: Model) -> Tensor:
        errors = errors.clamp(max=MOST)
        errors[~(self.known & known(model, self.batch.sigmas))] = math.nan
        return errors

    def _better(self, reading: Reading, than: Tensor) -> bool:
        """Whether a reading is clearly better over all levels, and clearly worse at none.

        One that gains much, or repairs levels that are doubtful as the model is, may be worse at others, within limits:
        a time that is told a little late is better at some levels by chance.
        """
        gain = self._gain(reading.errors, than)
        worse = _clear(-gain)
        if gain.nanmean() > LARGE or self.doubtful().any():
            worse &= self.doubtful(reading)
        return bool(_clear(gain.nanmean(dim=0)) and not worse.any())

    def _gain(self, errors: Tensor, than: Tensor) -> Tensor:
        """The log of how many times smaller errors are (levels, images)."""
        return ((than[:, : errors.shape[1]] + self.unit) / (errors + self.unit)).log()


def known(model: Model, sigmas: Sequence[float]) -> Tensor:
    """Which levels a model knows (levels,)."""
    low, high = model.span if isinstance(model, Adapter) else (0.0, math.inf)
    return torch.tensor([low <= sigma <= high for sigma in sigmas])


def _clear(gain: Tensor) -> Tensor:
    """Whether gains (..., images) are large and no accident (...)."""
    error = gain.std(dim=-1, correction=0) / math.sqrt(max(gain.shape[-1] - 1, 1))
    return gain.mean(dim=-1) > (SURE * error).clamp(min=math.log(CLEAR))


def _nothing(model: Model) -> Model:
    """The model with a network that returns 0."""

    def net(z: Tensor, *_: Tensor, **index: Tensor) -> Tensor:
        return torch.zeros_like(z)

    return Adapter(net, model.data, model.convention) if isinstance(model, Adapter) else net
