"""What `check-sampler --policy` does: checks stochastic steps with a log_prob, and writes the result folder."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from diffusion_core.conformance.policy import CHECKS, PolicyVerdict, check_policy
from experiments.own import imports
from experiments.own.imports import of_user
from experiments.own.sampler_specs import called
from experiments.sampler_checks import farthest, in_turn, listed, write_result
from experiments.terminal import Terminal

if TYPE_CHECKING:
    from experiments.check_sampler import CheckSampler

NAME = "check_policy"


@dataclass(frozen=True)
class Policy:
    """A step to check.

    Args:
        policy: its name, as on the command line.
        noise, replay, levels, replay_levels, accept: as on the command line.
        group, note, link: as of a sampler in a list.
    """

    policy: str
    noise: str | None = None
    replay: str | None = None
    levels: str | None = None
    replay_levels: str | None = None
    accept: Sequence[str] = ()
    group: str = ""
    note: str = ""
    link: str = ""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():  # of a list, which may hold anything
            if name == "accept":
                if isinstance(value, str) or not isinstance(value, Sequence):
                    raise ValueError(f"accept must be a list of words, and it is {value!r}")
            elif value is not None and not isinstance(value, str):
                raise ValueError(f"{'name' if name == 'policy' else name} must be a text, and it is {value!r}")

    @property
    def title(self) -> str:
        """Its name, and those of the levels and of the replay if it has some of its own."""
        others = [place.rpartition(":")[2] for place in (self.levels, self.replay, self.replay_levels) if place]
        return ", ".join([self.policy, *others])

    def checked(self) -> Callable[[], PolicyVerdict]:
        """The check. ValueError if a function cannot be found."""
        others = self.replay, self.levels, self.replay_levels
        replay, levels, replay_levels = (named(place) if place else None for place in others)
        options: dict[str, Any] = {
            "replayed_by": replay,
            "noise": self.noise,
            "replay_levels": replay_levels,
            "accept": self.accept,
        }
        if levels is not None:
            options["levels"] = levels
        return partial(check_policy, named(self.policy), **options)


def main(options: "CheckSampler") -> list[PolicyVerdict]:
    """Prints the verdicts and writes the report. ValueError if a step cannot be found or is none."""
    began, out = time.time(), options.out.absolute()
    name = options.policy or ""
    policies = [Policy(name, options.noise, options.replay, options.levels, options.replay_levels, options.accept)]
    if name.endswith(".toml"):
        policies = listed(Path(name), "policy", Policy)
        titles = [policy.title for policy in policies]
        if not titles:
            raise ValueError(f"{name}: it lists no [[policy]]")
        if twice := [title for title in titles if titles.count(title) > 1]:
            raise ValueError(f"{name}: {twice[0]} is listed twice")
    checks = [policy.checked() for policy in policies]  # all names first: an error comes before the work

    def tried(policy: Policy, check: Callable[[], PolicyVerdict], progress: object) -> PolicyVerdict:
        with of_user(policy.title, ValueError):
            return check()

    def shown(verdicts: Sequence[PolicyVerdict], seconds: Sequence[float]) -> None:
        if len(policies) == 1:
            show(policies[0], verdicts[0], seconds[0])
        else:
            show_all(policies[: len(verdicts)], verdicts)

    def written(verdicts: Sequence[PolicyVerdict], seconds: Sequence[float]) -> None:
        write(out, policies[: len(verdicts)], verdicts, seconds, time.time() - began, len(policies))

    each = [partial(tried, policy, check) for policy, check in zip(policies, checks, strict=True)]
    return in_turn(options.out, [policy.title for policy in policies], each, shown, written, "steps")


def named(place: str) -> Callable[..., Any]:
    """The function at my_file:function or my_file:function(option=value). ValueError if there is none."""
    name, options = called(place, place)
    found: Callable[..., Any] = imports.load_object(name)
    return partial(found, **options) if options else found


def outcome(verdict: PolicyVerdict, check: str) -> str:
    """ "right", "wrong", "accepted", "note" or "not checked"."""
    remarks = [remark for remark in verdict.remarks if remark.check == check]
    if any(remark in verdict.errors for remark in remarks):
        return "wrong"
    if remarks:
        return "accepted" if any(remark.accepted for remark in remarks) else "note"
    return "right" if check in verdict.checked else "not checked"


def write(
    out: Path, policies: Sequence[Policy], verdicts: Sequence[PolicyVerdict], seconds: Sequence[float],
    wall_seconds: float, n_listed: int,
) -> None:  # fmt: skip
    """Writes a result folder, which is held (run/result_folder.py), after so many seconds. The list had `n_listed`."""
    both = [*zip(policies, verdicts, strict=True)]
    tables: dict[str, list[dict[str, Any]]] = {
        "policies.csv": [
            {
                "sampler": policy.title, "group": policy.group, "kind": verdict.kind, "factor": verdict.factor,
                "limit_ratio": farthest(verdict.law.ratios, 1.0) if verdict.law else None, "seconds": taken,
                "note": policy.note, "link": policy.link,
            }
            for (policy, verdict), taken in zip(both, seconds, strict=True)
        ],
        "policy_steps.csv": [
            {
                "sampler": policy.title, "n_steps": n_steps, "ratio_low": low, "ratio_high": high,
                "last_noise": verdict.last_noise[n_steps],
            }
            for policy, verdict in both for n_steps, (low, high) in verdict.ratios.items()
        ],
        "policy_checks.csv": [
            {
                "sampler": policy.title, "check": check, "verdict": outcome(verdict, check),
                "sentence": " ".join(str(remark) for remark in verdict.remarks if remark.check == check),
            }
            for policy, verdict in both for check in CHECKS
        ],
    }  # fmt: skip
    which = f"these {n_listed}" if n_listed == len(policies) else f"the first {len(policies)} of {n_listed}"
    what = f"Are {which} steps right as policies?" if n_listed > 1 else f"Is {policies[0].title} right as a policy?"
    write_result(out, NAME, what, tables, wall_seconds, [policy.title for policy in policies])


def show(policy: Policy, verdict: PolicyVerdict, seconds: float) -> None:
    """The verdict, the checks, and the law by number of steps."""
    console = Terminal()
    for line in verdict.sentence.splitlines():
        console.print(line, style="green" if verdict.right else "bold red")
    for remark in verdict.remarks:
        if remark not in verdict.errors:
            console.print(str(remark))
    table = Table(title=policy.title, title_justify="left", caption_justify="left", caption=f"{seconds:.1f} s of CPU.")
    for head in ("check", "outcome", "whether"):
        table.add_column(head)
    for check, says in CHECKS.items():
        found = outcome(verdict, check)
        table.add_row(check, found, says, style="red" if found == "wrong" else "dim" if found == "not checked" else "")
    console.print(table, soft_wrap=False)
    for n_steps, (low, high) in verdict.ratios.items():
        console.print(f"with {n_steps} steps the standard deviations are {low:.3f} to {high:.3f} of the true ones")


def show_all(policies: Sequence[Policy], verdicts: Sequence[PolicyVerdict]) -> None:
    """How many are right, and a line for each step."""
    console = Terminal()
    console.print(f"{sum(verdict.right for verdict in verdicts)} of {len(verdicts)} steps are right.", style="bold")
    for policy, verdict in zip(policies, verdicts, strict=True):
        text = " ".join(verdict.sentence.splitlines())
        console.print(f"{policy.title}: {text}", style="" if verdict.right else "red")
