"""Findings on a policy's step, and the verdict that they make."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from experiments.conformance.convergence import Verdict

CHECKS = {  # what must hold
    "ends": "everything is finite, from t = 1 to t_next = 0",
    "batch": "with the same noise, an image alone is the same as in a batch",
    "draws": "x_next = mean + std z with independent normal draws z, and nothing else is random or changed",
    "generator": "the same generator repeats a sample, another one does not, and the global one is left alone",
    "log_prob": "log_prob is the log density of the noise that is drawn",
    "reported": "the mean and std that are returned, as for a KL divergence, are those of x_next",
    "replay": "log_prob of the stored x_next is what it was when x_next was drawn",
    "gradient": "log_prob differentiates through the velocity",
    "ODE": "without noise it is the Euler step",
    "law": "with more steps the samples have the law of the data",
}
FIRST = ("ends", "batch", "draws")  # what they find sets off the others
ACCEPTABLE = {  # a word for `accept` -> the findings that may be intended
    "mean": ("mean",),
    "normaliser": ("log_prob: normaliser",),
    "variance": ("log_prob: not divided by the variance",),
    "bfloat16": ("replay in bfloat16", "computed in bfloat16"),
    "limit": ("wrong limit",),
}


MOMENTS = {"log_prob: wrong std", "log_prob: wrong mean", "reported std", "reported mean"}  # findings
ROUNDING = {"replay in bfloat16", "computed in bfloat16", "log_prob: rounded", "rounded noise"}  # findings


@dataclass(frozen=True)
class Finding:
    """One finding of a check.

    It is an error if it is `wrong` and was not `accepted` as intended; otherwise a user should know it.
    """

    check: str  # a key of `CHECKS`
    name: str  # in a few words
    text: str  # the sentences that say so, with numbers
    wrong: bool = True
    accepted: bool = False

    @property
    def rank(self) -> tuple[bool, bool, int]:
        """Its place among others: errors first, and of these the law, std and mean, sums and shapes, rounding."""
        severity = 0 if self.check == "law" else 1 if self.name in MOMENTS else 3 if self.name in ROUNDING else 2
        return self.accepted, not self.wrong, severity

    def __str__(self) -> str:
        prefix = "accepted: " if self.accepted else "" if self.wrong else "note: "
        return f"{prefix}{self.name}: {self.text}"


@dataclass(frozen=True)
class PolicyVerdict:
    """The verdict of `check_policy` on a step.

    Args:
        findings: what was found, by their `rank`.
        checked: the keys of `CHECKS` that were tried.
        ratios: lowest and highest standard deviation of the samples over that of the data, over the directions, by the
            number of steps; they are exact.
        last_noise: standard deviation of the noise of the last step, by the number of steps.
        factor: log_prob over the log density: 1 for the sum over D dimensions, 1 / D for their mean; None if unknown.
        convergence: the verdict on the samples; None if it was not measured.
        words: what is right, for checks of something else than policies.
    """

    findings: tuple[Finding, ...] = ()
    checked: tuple[str, ...] = ()
    ratios: dict[int, tuple[float, float]] = field(default_factory=dict)
    last_noise: dict[int, float] = field(default_factory=dict)
    factor: float | None = None
    convergence: Verdict | None = None
    words: str = ""

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.wrong and not finding.accepted)

    @property
    def right(self) -> bool:
        return not self.errors

    @property
    def outcome(self) -> str:
        """ "right", or the names of the errors."""
        return "; ".join(dict.fromkeys(finding.name for finding in self.errors)) or "right"

    @property
    def sentence(self) -> str:
        """The verdict in words, a line per error."""
        if not self.right:
            return "\n".join(map(str, self.errors))
        if self.words:
            return f"right: {self.words}"
        parts = ["it samples the data"] * (self.convergence is not None and self.convergence.right)
        parts += ["log_prob is that of the noise it draws"] * ("log_prob" in self.checked)
        but = "" if "log_prob" in self.checked else ", but log_prob was not checked"
        return f"right: {' and '.join(parts) or 'nothing is wrong'}{but}."

    def outcome_of(self, check: str) -> str:
        """Of one of `CHECKS`: "right", "wrong", "accepted", "note" or "not checked"."""
        findings = [finding for finding in self.findings if finding.check == check]
        if any(finding in self.errors for finding in findings):
            return "wrong"
        if findings:
            return "accepted" if any(finding.accepted for finding in findings) else "note"
        return "right" if check in self.checked else "not checked"

    def accepting(self, names: Collection[str]) -> "PolicyVerdict":
        """Returns the verdict with the findings of these names accepted; all findings are sorted by their `rank`."""
        findings = [replace(finding, accepted=finding.name in names) for finding in self.findings]
        return replace(self, findings=tuple(sorted(findings, key=lambda finding: finding.rank)))

    def adding(self, findings: Iterable[Finding], *checked: str) -> "PolicyVerdict":
        """Returns the verdict with more findings, and with the checks that they are of."""
        return replace(self, findings=(*self.findings, *findings), checked=(*self.checked, *checked))
