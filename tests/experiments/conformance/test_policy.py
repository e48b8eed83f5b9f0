"""The check of policies: every planted bug has its name, right steps are right, and what is asked is checked first."""

import random
from functools import partial
from pathlib import Path

import pytest
import torch
from policy_bugs import BUGS, drawn, log_prob

from bench import published_policies
from bench.published_policies import cps, dance_grpo, density, finish, flow_grpo, shifted, stable_diffusion, window
from experiments.conformance.policy import CHECKS, assert_policy, check_policy
from experiments.conformance.policy.steps import uniform

RIGHT = "flow_grpo reverse_sde dance_grpo sit_linear sit_sine precise dance_frozen ddim window".split()
SLOW = pytest.mark.slow
check_step = partial(check_policy, convergence=False)
DOCS = Path(__file__).parents[3] / "docs"
LAWS = {"wrong limit", "noise left over", "not the ODE at noise 0"}


CAUSES = {
    "std lacks sqrt(dt) everywhere": " The drawn std lacks sqrt(t - t_next).",
    "drift twice as large": " Its drift has its velocity 2 times, and makes up for its noise 2 times.",
    "noise not compensated (zea#551)": " Its drift has its velocity 1 times, and makes up for its noise 0 times.",
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=SLOW) if BUGS[n][2]["convergence"] else n for n in BUGS])
def test_a_planted_bug_is_named_and_nothing_else_is_wrong(name):
    step, expected, options = BUGS[name]
    verdict = check_policy(step, **options)
    found = {finding.name for finding in verdict.errors}
    assert expected in found
    assert verdict.errors[0].text.endswith(CAUSES.get(name, ""))
    assert found <= {expected} | LAWS | (
        {"touches the global generator"} if expected == "ignores its generator" else set()
    )
    assert not verdict.right


@SLOW
@pytest.mark.parametrize("name", [*RIGHT, "cps"])
def test_right_steps_are_right_at_other_levels_shapes_and_types(name):
    rng = random.Random(name)
    noise, shift = rng.uniform(0.2, 0.7), rng.choice((1.0, 3.0, 5.0))
    reduce = rng.choice((torch.mean, torch.sum))

    def step(x, t, u, v, generator=None, x_next=None, noise_level=noise):
        own = getattr(published_policies, name)
        return own(x, t, u, v, generator=generator, x_next=x_next, noise_level=noise_level, reduce=reduce)

    verdict = check_policy(
        step, noise="noise_level", levels=lambda n: uniform(n, shift), convergence=False,
        n_steps=rng.choice((8, 10, 14, 15, 28)), shape=rng.choice(((4, 3, 5), (1, 1, 5), (16, 8, 5))),
        dtype=rng.choice((torch.float32, torch.float64)),
    )  # fmt: skip
    assert verdict.right, verdict.sentence
    assert set(verdict.checked) == set(CHECKS) - {"law"}


def test_in_a_test_suite_the_sentence_is_the_message():
    step, expected, options = BUGS["variance in place of std"]
    with pytest.raises(AssertionError, match=f"{expected}: its std is 0.158 times that of the noise drawn. It is the"):
        assert_policy(step, **options)
    assert_policy(window, convergence=False)


@pytest.mark.parametrize(
    "name, levels, outcome",
    [
        ("unirl", uniform, "right"),
        ("flow_grpo_sde", uniform, "reported std"),
        ("flow_grpo_cps", uniform, "log_prob: not divided by the variance"),
        ("sglang_no_const", uniform, "log_prob: not divided by the variance"),
        ("dance_grpo_flux", shifted, "log_prob: normaliser"),
        ("ddpo", stable_diffusion, "replay in bfloat16"),
        ("ddpo(half=True)", stable_diffusion, "computed in bfloat16"),
    ],
)
def test_what_trainers_run_gets_its_own_verdict(name, levels, outcome):
    step = getattr(published_policies, name.partition("(")[0])
    verdict = check_step(partial(step, half=True) if "half" in name else step, levels=levels)
    assert verdict.outcome == outcome, verdict.sentence


@SLOW
def test_the_law_is_that_of_the_paper():
    flow, kept = (check_policy(step, accept="limit") for step in (flow_grpo, cps))
    assert flow.right
    assert "it samples the data" in flow.sentence
    low, high = flow.ratios[10]
    assert 0.9 < low < high < 1
    assert kept.right and kept.outcome_of("law") == "accepted"
    worst = max(kept.convergence.ratios[:4], key=lambda ratio: abs(ratio - 1))
    assert worst == pytest.approx(0.9239, abs=0.002)  # cos(pi / 8)
    assert kept.last_noise[10] == 0


@pytest.mark.parametrize(
    "bug, accept",
    [("CPS not divided by the variance (NeMo-RL#3408)", ["variance", "mean"]), ("computed in bfloat16", ["bfloat16"])],
)
def test_what_is_accepted_is_no_error_but_said(bug, accept):
    step, name, options = BUGS[bug]
    verdict = check_policy(step, **options, accept=accept)
    assert verdict.right
    assert next(str(finding) for finding in verdict.findings if finding.accepted).startswith(f"accepted: {name}: ")


@pytest.mark.parametrize(
    "step",
    [log_prob(density, step) for step in (cps, window)],
    ids=["last step", "window"],
)
def test_a_log_prob_of_no_noise_is_a_note_and_the_other_checks_run(step):
    verdict = check_step(step, noise="noise_level")
    assert verdict.right and verdict.outcome_of("ends") == "note", verdict.sentence
    assert set(verdict.checked) == set(CHECKS) - {"law"}


@SLOW
def test_noise_is_blamed_where_the_std_says_so():
    """Where the mean is wrong, the cause is the drift: CAUSES."""
    verdict = check_policy(drawn(lambda x, g: 1.2 * torch.randn(x.shape, generator=g)))
    law = next(finding for finding in verdict.findings if finding.check == "law")
    assert law.name == "wrong limit" and law.text.endswith(" Too much noise.")


@SLOW
def test_the_law_comes_first_and_rounding_last():
    def step(*arguments, **options):
        y, log_p, *rest = BUGS["drift twice as large"][0](*arguments, **options)
        return y, log_p.half(), *rest

    first, *_, last = check_policy(step).errors
    assert first.name == "wrong limit"
    assert last.name == "log_prob: rounded"


@SLOW
def test_a_vp_step_is_checked_by_the_function_of_the_documentation():
    """DDIM of Song et al. 2021 (2010.02502), Eq. 12 and 16, eta = 1."""

    def ddim(y, abar, after, eps, generator, y_next):
        var = (1 - after) / (1 - abar) * (1 - abar / after)
        mean = (after / abar) ** 0.5 * (y - (1 - abar) ** 0.5 * eps) + (1 - after - var).clamp(min=0) ** 0.5 * eps
        return finish(y, mean, var**0.5, generator, y_next)

    names = {}
    exec((DOCS / "examples" / "my_vp.py").read_text(encoding="utf-8"), names)
    verdict = check_policy(names["as_flow_step"](ddim), levels=lambda n: 0.999 * uniform(n), accept="bfloat16")
    assert verdict.right and "it samples the data and log_prob is" in verdict.sentence


@pytest.mark.parametrize(
    "noise",
    [
        lambda x, g: 0.6 * torch.randn(x.shape, generator=g) + 0.8 * torch.randn(x.shape, generator=g),
        lambda x, g: torch.randn(7, *x.shape, generator=g)[3],
        lambda x, g: torch.randn(x.numel(), generator=g).view(x.shape),
        lambda x, g: torch.randn(x.shape, generator=g, dtype=torch.bfloat16).float(),
    ],
    ids=["two draws", "one of seven", "flat", "bfloat16"],
)
def test_noise_may_be_drawn_in_other_ways(noise):
    verdict = check_step(drawn(noise), noise="noise_level")
    assert verdict.right, verdict.sentence


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_what_surrounds_the_check_does_not_matter(mode):
    compiled = torch.compile(flow_grpo, backend="eager")
    with mode():
        verdict = check_step(compiled)
    assert verdict.right, verdict.sentence


def test_noise_on_a_part_of_the_elements_is_not_checked_and_that_is_said():
    def step(x, t, u, v):
        return x + (u - t) * v + 0.1 * (torch.arange(5) > 0) * torch.randn_like(x), None

    verdict = check_step(step)
    assert verdict.sentence == "right: nothing is wrong, but log_prob was not checked."
    assert "no step gives noise to every element" in str(verdict.findings)


def wider(x, t, u, v, x_next=None):
    _, _, mean, std = dance_grpo(x, t, u, v, None, x)
    return x_next, density(x_next, mean, 1.05 * std)  # that of 9 steps is 1.054 times as large


def scaled(x, t, u, v, x_next=None):
    out = dance_grpo(x, t, u, v, None, x_next)
    return out[0], 1.01 * out[1]


@pytest.mark.parametrize("trainer", [wider, scaled])
def test_a_trainer_of_its_own_is_replayed_and_not_taken_for_one_of_other_levels(trainer):
    verdict = check_step(dance_grpo, replayed_by=trainer)
    assert verdict.outcome == "replay"
    assert verdict.sentence.endswith("ratios are not 1 before any update.")


@pytest.mark.parametrize(
    "step, options, message",
    [
        (lambda x, t, u, v: x, {}, r"returned Tensor; it must return \(x_next, log_prob"),
        (lambda x, t, u, v: (x[:1], x), {}, "x_next has shape"),
        (flow_grpo, {"levels": lambda n: torch.linspace(0, 1, n + 1)}, "must return 11 times that"),
        (flow_grpo, {"levels": lambda n: uniform(n + 2)}, "must return 11 times"),
        (flow_grpo, {"replayed_by": lambda x, t, u, v: (x, x)}, "names no x_next or prev_sample"),
        (flow_grpo, {"accept": ["anything"]}, "be one of mean, normaliser, variance, bfloat16"),
        (lambda x, t, u, v, eta: (x, x), {"noise": "noise"}, "noise='noise': it must be one of x, t, u, v, eta"),
    ],
)
def test_what_is_no_step_is_refused(step, options, message):
    with pytest.raises(ValueError, match=message):
        check_step(step, **options)
