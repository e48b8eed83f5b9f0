"""A network that answers with random numbers, and records who was asked for, at which x and level."""

from collections.abc import Callable
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
GROWTH = 1.9  # of 16-bit answers, from one level to the next: late ones change x little, and rounding hides them
SHARE = 0.02  # of a code in an embedding: less is rounding
ARGUMENTS = {  # of the networks of diffusers, in their order if they have no name
    "x": ("hidden_states", "sample"),
    "level": ("timestep",),
    "condition": ("encoder_hidden_states",),
    "guidance": ("guidance",),
    "pooled": ("pooled_projections",),
}


class Condition(NamedTuple):
    """Whose embedding it is."""

    kind: str  # prompt, negative, none (no embedding, or an unknown one) or mixed
    sample: int = 0
    request: int = 0
    parts: str = ""  # of a mixture


class Query(NamedTuple):
    """One row of a call."""

    x: Tensor  # (D,) float64, as the answer
    level: float  # in the pipeline's own unit
    condition: Condition
    pooled: Condition | None  # whose second embedding it gets, if it gets one
    guidance: float | None  # the number that a distilled network gets
    answer: Tensor
    rounding: float  # relative, of the numbers that the pipeline computes with

    @property
    def branch(self) -> str:
        """The kind of condition, with that of the second embedding if it is another."""
        if self.pooled is None or self.pooled.kind in (self.condition.kind, "none"):
            return self.condition.kind
        return f"{self.condition.kind} with pooled {self.pooled.kind}"


def make_embeddings(request: int, n_samples: int) -> tuple[Tensor, Tensor]:
    """The embeddings (n_samples, TOKENS, WIDTH) of the prompts of a request, and of their negatives: all orthogonal."""
    first = 2 * n_samples * request
    prompts, negatives = (UNIT * CODES[first : first + 2 * n_samples]).float().view(2, n_samples, TOKENS, WIDTH)
    return prompts, negatives


def answer_randomly(seed: int, by_condition: bool) -> Callable[..., Tensor]:
    """answer(x, level, condition): unit normal numbers for each; without `by_condition`, alike for all conditions."""
    generator = torch.Generator().manual_seed(seed)
    answers = dict[Any, Tensor]()

    def answer(x: Tensor, level: float, condition: Any) -> Tensor:
        key = (x.numpy().tobytes(), level, by_condition and condition)
        if key not in answers:
            answers[key] = torch.randn(x.shape, generator=generator)
        return answers[key]

    return answer


@dataclass
class GuidedNetwork:
    """network(x, level, condition, guidance=None, pooled=None), rows of any samples in any order.

    `forward` has the arguments of the networks of diffusers and replaces theirs: pipe.unet.forward = network.forward.
    """

    answer: Callable[[Tensor, float, Any], Tensor]
    n_samples: int
    queries: list[Query] = field(default_factory=list)
    levels: dict[float, int] = field(default_factory=dict)  # the order in which they came

    def __call__(self, x: Any, level: Any, condition: Any = None, guidance: Any = None, pooled: Any = None) -> Any:
        if isinstance(x, list | tuple):
            if condition[0] is not None and condition[0].dim() == 2:  # lists of single rows
                return list(self(torch.stack(tuple(x)), level, torch.stack(tuple(condition)), guidance, pooled))
            return [self(rows, level, given, guidance, pooled) for rows, given in zip(x, condition, strict=True)]
        n = len(x)
        answers = []
        for row, row_level, row_condition, row_guidance, row_pooled in zip(
            x.detach().double().cpu().reshape(n, -1), _spread(level, n), self._recognise(condition, n),
            _spread(guidance, n), self._recognise(pooled, n) if pooled is not None else [None] * n, strict=True,
        ):  # fmt: skip
            answer = self.answer(row, row_level, (row_condition, row_pooled))
            if x.dtype.itemsize == 2:
                self.levels.setdefault(row_level, len(self.levels))
                answer = answer * GROWTH ** self.levels[row_level]
            answer = answer.to(x.dtype)
            answers.append(answer)
            self.queries.append(
                Query(
                    row, row_level, row_condition, row_pooled, row_guidance, answer.double(), torch.finfo(x.dtype).eps
                )
            )
        return torch.stack(answers).view(x.shape).to(x.device)

    def forward(self, *args: Any, return_dict: bool = True, **given: Any) -> Any:
        unnamed = iter(args)
        given |= {"pooled_projections": (given.get("added_cond_kwargs") or {}).get("text_embeds")} | given
        asked = {
            argument: next((given[name] for name in names if name in given), None) for argument, names in ARGUMENTS.items()
        }
        for argument in ("x", "level", "condition"):
            if asked[argument] is None:
                asked[argument] = next(unnamed, None)
        out = self(**asked)
        return SimpleNamespace(sample=out) if return_dict else (out,)

    def _recognise(self, embeddings: Tensor | None, n: int) -> list[Condition]:
        if embeddings is None:
            return [Condition("none")] * n
        numbers = embeddings.detach().double().cpu()
        if numbers.dim() > 2:
            numbers = numbers[..., :TOKENS, :WIDTH]
        numbers = numbers.reshape(len(numbers), -1)[:, :SIZE]
        shares = pad(numbers, (0, SIZE - numbers.shape[1])) @ CODES.T / UNIT
        return [self._name(row) for row in shares.expand(n, -1)]

    def _name(self, shares: Tensor) -> Condition:
        """Whose code has which share."""
        parts = list[tuple[float, Condition]]()
        for code in (shares.abs() > SHARE).nonzero().flatten().tolist():
            request, place = divmod(code, 2 * self.n_samples)
            kind = ("prompt", "negative")[place // self.n_samples]
            parts.append((float(shares[code]), Condition(kind, place % self.n_samples, request)))
        if not parts or len(parts) > 4:
            return Condition("none")
        share, condition = parts[0]
        if len(parts) == 1 and abs(share - 1) < SHARE:
            return condition
        text = " + ".join(f"{share:.3g} x {condition.kind}" for share, condition in parts)
        return condition._replace(kind="mixed", parts=text)


def _spread(value: Any, n: int) -> list[Any]:
    """One value per row: of those of a row, as of its tokens, the first."""
    if value is None:
        return [None] * n
    values = torch.as_tensor(value).detach().double().cpu().flatten()
    return (values.expand(n) if len(values) == 1 else values.view(n, -1)[:, 0]).tolist()
