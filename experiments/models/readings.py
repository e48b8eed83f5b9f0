"""Which other reading of a model is better: it repairs the error at some levels, and spoils it at none."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffusion_core.adapters import Adapter
from diffusion_core.samplers import Model
from experiments.models.alternatives import Alternative
from experiments.models.batch import Batch

FEW, BEST = 2, 4  # images per level for a first look at a reading; readings that are then tried on all images
BASES = 2  # of these, the number that others are added to, if one is not enough
SURE, CLEAR = 4.0, 1.1  # errors at a level differ clearly by this many standard errors, and by this factor
SHARE = 0.7  # of the log of what is doubtful about the errors, which a better reading takes away
UNIT, MOST = 0.1, 1e3  # errors below UNIT times the best linear predictor's are alike, and so are those above MOST
LEAST = 1e-6  # the smallest error of a linear predictor that ratios are taken of


@dataclass(frozen=True)
class Reading:
    """One alternative or two together, and the model's errors if it is read so (levels, images)."""

    parts: tuple[Alternative, ...]
    errors: Tensor


class Readings:
    """Readings of a model on the same images and noise. Errors are (levels, images), NaN at levels not known to all.

    Args:
        errors: those of the model as it is.
        linear: the best linear predictor's error at each level.
        limits: the errors that are doubtful at each level.
    """

    def __init__(
        self, model: Model, batch: Batch, errors: Tensor, linear: Sequence[float], limits: Sequence[float]
    ) -> None:
        self.model, self.batch, self.known = model, batch, known(model, batch.sigmas)
        self.unit = UNIT * torch.tensor(linear, dtype=torch.float64).clamp(min=LEAST).view(-1, 1)
        self.limits = torch.tensor(limits, dtype=torch.float64)
        self.errors = self._comparable(errors, model)

    def best(self, alternatives: Sequence[Alternative]) -> Reading | None:
        """The best reading that is clearly better, of equals the first; two together only if they clearly beat each."""
        singles = self._ranked((alternative,) for alternative in alternatives)
        helpful = [single for single in singles if self._helps(single)]
        equals = [single for single in helpful if not self._better(helpful[0], single.errors)]
        best = min(equals, key=lambda single: alternatives.index(single.parts[0]), default=None)
        if not ((best or self).errors.mean(dim=1) > self.limits).any():
            return best
        bases = [single.parts[0] for single in singles[:BASES]]
        pairs = ((base, other) for base in bases for other in alternatives if not base.kinds & other.kinds)
        for pair in self._ranked(pairs):
            parts = [self._read((part,)) for part in pair.parts]
            if self._helps(pair) and all(self._better(pair, part.errors) for part in (best, *parts) if part):
                return pair
        return best

    def repaired(self, reading: Reading) -> tuple[Tensor, float]:
        """The levels that a reading repairs (levels,), and how many times smaller the error is there."""
        gain = self._gain(reading.errors, self.errors)
        return _clear(gain), gain[_clear(gain)].mean().exp().item()

    def _ranked(self, choices: Iterable[tuple[Alternative, ...]]) -> list[Reading]:
        """The best of these readings by their errors, which are smaller than the model's: best first."""

        def size(reading: Reading) -> float:
            return self._gain(reading.errors, self.errors).nanmean().item()

        looks = sorted(filter(None, (self._read(parts, FEW) for parts in choices)), key=size, reverse=True)[:BEST]
        readings = (self._read(look.parts) for look in looks if size(look) > 0)
        return sorted(filter(None, readings), key=size, reverse=True)

    def _read(self, parts: tuple[Alternative, ...], n: int | None = None) -> Reading | None:
        """The model read so, for the first n images. None if it fails, or knows less than half of the same levels."""
        model: Any = self.model
        try:
            for part in parts:
                model = part.read(model)
            errors = self._comparable(self.batch.errors(model, n), model)
        except Exception:  # the network may have no answer to what it was never meant to be asked
            return None
        return Reading(parts, errors) if 2 * (~errors[:, 0].isnan()).sum() > self.known.sum() else None

    def _comparable(self, errors: Tensor, model: Model) -> Tensor:
        errors = errors.nan_to_num(MOST).clamp(max=MOST)
        errors[~(self.known & known(model, self.batch.sigmas))] = math.nan
        return errors

    def _helps(self, reading: Reading) -> bool:
        """Whether a reading is better than the model as it is, by enough, and thanks to the network.

        The same reading of a network that returns 0 must be worse.
        """
        nothing = _nothing(self.model)
        for part in reading.parts:
            nothing = part.read(nothing)
        excess = (self.errors.mean(dim=1) / self.limits).log().clamp(min=0)
        enough = self._gain(reading.errors, self.errors).nanmean() > SHARE * excess.nanmean()
        thanks = self._gain(reading.errors, self.batch.errors(nothing)).nanmean() > 0
        return bool(self._better(reading, self.errors) and enough and thanks)

    def _better(self, reading: Reading, than: Tensor) -> bool:
        """Whether a reading is clearly better at a level, and clearly worse at none."""
        gain = self._gain(reading.errors, than)
        return bool(_clear(gain).any() and not _clear(-gain).any())

    def _gain(self, errors: Tensor, than: Tensor) -> Tensor:
        """The log of how many times smaller errors are (levels, images)."""
        return ((than[:, : errors.shape[1]] + self.unit) / (errors + self.unit)).log()


def known(model: Model, sigmas: Sequence[float]) -> Tensor:
    """Which levels a model knows (levels,)."""
    low, high = model.span if isinstance(model, Adapter) else (0.0, math.inf)
    return torch.tensor([low <= sigma <= high for sigma in sigmas])


def _clear(gain: Tensor) -> Tensor:
    """At which levels (levels,) a gain (levels, images) is large and no accident."""
    error = gain.std(dim=1, correction=0) / math.sqrt(max(gain.shape[1] - 1, 1))
    return gain.mean(dim=1) > (SURE * error).clamp(min=math.log(CLEAR))


def _nothing(model: Model) -> Model:
    """The model with a network that returns 0."""

    def net(z: Tensor, *_: Tensor, **index: Tensor) -> Tensor:
        return torch.zeros_like(z)

    return Adapter(net, model.data, model.convention) if isinstance(model, Adapter) else net
