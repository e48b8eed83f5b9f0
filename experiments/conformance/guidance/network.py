"""A network that answers with random numbers, and records who was asked for, at which x and level."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

TOKENS, WIDTH = 4, 32  # of an embedding; what a pipeline appends to it is padding
SIZE = TOKENS * WIDTH
CODES = torch.linalg.qr(torch.randn(SIZE, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))[0]
UNIT = SIZE**0.5  # factor of a code, so that the elements of an embedding have variance 1
SHARE = 0.02  # of a code in an embedding: less is rounding
GROWTH = 2.3  # of 16-bit answers, from one level to the next: late ones change x little, and rounding would hide them


class Condition(NamedTuple):
    """Whose embedding it is."""

    name: str  # prompt, negative, none (no embedding, or an unknown one) or mixed
    request: int = 0
    sample: int = 0
    parts: str = ""


class Query(NamedTuple):
    """One row of a call."""

    x: Tensor  # (D,) float64, as the answer
    level: float  # in the pipeline's own unit
    condition: Condition
    pooled: Condition  # of the second embedding
    guidance: float | None  # the number that a distilled network gets
    answer: Tensor
    half: bool  # whether the pipeline computes in 16 bits

    @property
    def branch(self) -> str:
        """The name of its condition, with that of the second embedding if it is another."""
        name, pooled = self.condition.name, self.pooled.name
        return name if pooled in (name, "none") else f"{name} with pooled {pooled}"


def make_embeddings(request: int, n_samples: int) -> Tensor:
    """Those (2, n_samples, TOKENS, WIDTH) of the prompts of a request, and of their negatives: all orthogonal."""
    codes = CODES[2 * n_samples * request :][: 2 * n_samples]
    return (UNIT * codes).float().view(2, n_samples, TOKENS, WIDTH)


@dataclass
class GuidedNetwork:
    """network(x, level, condition, guidance=None, pooled=None), rows of any samples in any order.

    Answers are normal numbers: others for each x, level and, if `by_condition`, condition. `forward` has the arguments
    of the networks of diffusers and replaces theirs: pipe.unet.forward = network.forward.
    """

    request: int
    n_samples: int
    by_condition: bool = True
    queries: list[Query] = field(default_factory=list)
    levels: dict[float, int] = field(default_factory=dict)  # in the order in which they came
    answers: dict[Any, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.request)

    def __call__(self, x: Any, level: Any, condition: Any = None, guidance: Any = None, pooled: Any = None) -> Any:
        if isinstance(x, list | tuple):
            return [self(rows, level, own, guidance) for rows, own in zip(x, condition, strict=True)]
        n = len(x)
        half = x.dtype.itemsize == 2
        conditions = zip(self._recognise(condition, n), self._recognise(pooled, n), strict=True)
        rows = zip(x.detach().double().cpu().reshape(n, -1), conditions, strict=True)
        answers = []
        for (row, both), row_level, scale in zip(rows, _spread(level, n), _spread(guidance, n), strict=True):
            size = GROWTH ** (half * self.levels.setdefault(row_level, len(self.levels)))
            key = (row.numpy().tobytes(), row_level, self.by_condition and both)
            answer = self.answers.setdefault(key, size * torch.randn(row.shape, generator=self.generator)).to(x.dtype)
            self.queries.append(Query(row, row_level, *both, scale, answer.double(), half))
            answers.append(answer)
        return torch.stack(answers).view(x.shape).to(x.device)

    def forward(  # noqa: PLR0913  # the names of diffusers
        self, sample: Any = None, timestep: Any = None, encoder_hidden_states: Any = None, *, hidden_states: Any = None,
        guidance: Any = None, pooled_projections: Any = None, added_cond_kwargs: Any = None, return_dict: bool = True,
        **_: Any,
    ) -> Any:  # fmt: skip
        x = sample if hidden_states is None else hidden_states
        pooled = (added_cond_kwargs or {}).get("text_embeds", pooled_projections)
        out = self(x, timestep, encoder_hidden_states, guidance, pooled)
        return SimpleNamespace(sample=out) if return_dict else (out,)

    def _recognise(self, embeddings: Tensor | None, n: int) -> list[Condition]:
        if embeddings is None:
            return [Condition("none")] * n
        numbers = embeddings.detach().double().cpu().flatten(1)
        shares = pad(numbers, (0, SIZE - numbers.shape[1])) @ CODES.T / UNIT
        return [self._name(row) for row in shares.expand(n, -1)]

    def _name(self, shares: Tensor) -> Condition:
        parts = []
        for code in (shares.abs() > SHARE).nonzero().flatten().tolist():
            request, place = divmod(code, 2 * self.n_samples)
            name = "prompt" if place < self.n_samples else "negative"
            parts.append(Condition(name, request, place % self.n_samples, f"{shares[code]:.3g} x {name}"))
        if not 0 < len(parts) < 5:
            return Condition("none")
        if len(parts) == 1 and abs(shares.sum() - 1) < 0.5:
            return parts[0]._replace(parts="")
        return Condition("mixed", parts=" + ".join(condition.parts for condition in parts))


def _spread(value: Any, n: int) -> list[Any]:
    """One value per row: of those of a row, as of its tokens, the first. ValueError if they are of other rows."""
    if value is None:
        return [None] * n
    values = torch.as_tensor(value, dtype=torch.float64).detach().cpu().flatten()
    if len(values) % n and len(values) > 1:
        raise ValueError(f"its network gets {len(values)} levels, or scales, for {n} rows")
    return (values.expand(n) if len(values) == 1 else values.view(n, -1)[:, 0]).tolist()
