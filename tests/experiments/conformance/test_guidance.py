"""The check of guidance: right pipelines are right, and every planted fault has its name."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from guidance_faults import OPTIONS, RIGHT, WRONG, make

from diffusion_core.samplers import Heun
from experiments.conformance import Oracle, assert_guided, check, check_guidance, wrappers
from experiments.conformance.guidance import ACCEPTABLE
from experiments.conformance.guidance.network import GuidedNetwork, make_embeddings

FOLDER = Path(__file__).parents[3] / "docs"
DOCS = (FOLDER / "samplers.md").read_text(encoding="utf-8")
PIPELINE = FOLDER / "examples" / "my_pipeline.py"


@pytest.mark.slow(20)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", RIGHT)
def test_right_pipelines_are_right(name: str):
    verdict = check_guidance(RIGHT[name], **OPTIONS.get(name, {}))
    assert verdict.right, verdict.sentence


@pytest.mark.slow(20)
@pytest.mark.parametrize("name", WRONG)
def test_a_planted_fault_has_its_name(name: str):
    pipeline, expected = WRONG[name]
    verdict = check_guidance(pipeline, **OPTIONS.get(name, {}))
    assert verdict.errors[0].name == expected, verdict.sentence


@pytest.mark.parametrize(
    "name, word",
    [("rescaled", "rescale"), ("rows rescaled", "rescale"), ("CFG-Zero*", "cfg-zero"), ("zero init", "cfg-zero"),
     ("CFG++", "cfg++")],
)  # fmt: skip
def test_what_is_meant_so_is_accepted(name: str, word: str):
    pipeline, expected = WRONG[name]
    verdict = check_guidance(pipeline, accept=[word])
    assert verdict.right, verdict.sentence
    assert [finding.name for finding in verdict.findings if finding.accepted] == [expected]
    assert expected in ACCEPTABLE[word]


def test_the_sentence_says_where_and_what():
    with pytest.raises(AssertionError, match="at evaluations 3 to 9 of 10 scale 5 acts as 1: only the prompt is asked"):
        assert_guided(WRONG["branch-blind cache"][0])
    notes = [str(finding) for finding in check_guidance(RIGHT["zeros"]).findings]
    assert notes == ["note: cost: scale 1 takes 20 evaluations, where 10 suffice."]
    assert "16-bit" in str(check_guidance(RIGHT["bfloat16"]).findings[0])
    assert check_guidance(make()).sentence == (
        "right: u + w (c - u) at every evaluation; 20 evaluations per sample, 10 at scale 1."
    )


@pytest.mark.parametrize(
    "answer, message",
    [
        (lambda network, x, prompt: [], "it returned list; it must ask the network"),
        (lambda network, x, prompt: x, "it must ask the network, and return samples"),
        (lambda network, x, prompt: network(x[:, :2], 1.0, prompt).repeat(1, 2, 1, 1), "1024 values"),
        (lambda network, x, prompt: network(x / 0, 1.0, prompt), "finite inputs"),
        (lambda network, x, prompt: network(torch.randn(x.shape), 1.0, prompt), "multiple of the noise"),
        (lambda network, x, prompt: network(x, torch.ones(2), prompt), "2 levels, or scales, for 3 rows"),
    ],
)
def test_what_cannot_be_checked_is_refused(answer, message: str):
    def pipeline(network, n_steps, noise, scale, prompt, negative):
        return answer(network, noise, prompt)

    with pytest.raises(ValueError, match=message):
        check_guidance(pipeline)


def test_the_network_stands_in_for_those_of_diffusers():
    network = GuidedNetwork(0, 2)
    prompt, negative = make_embeddings(0, 2)
    x = torch.randn(2, 4, 3)
    padded = torch.cat([prompt, torch.zeros(2, 3, 32)], 1)
    out = network.forward(x, torch.tensor(9), encoder_hidden_states=padded, added_cond_kwargs={"text_embeds": negative})
    assert out.sample.shape == x.shape
    assert torch.equal(network.forward(hidden_states=x, timestep=9, encoder_hidden_states=prompt,
                                       pooled_projections=negative, guidance=torch.full((2,), 5.0),
                                       return_dict=False)[0], out.sample)  # fmt: skip
    assert [query.branch for query in network.queries] == ["prompt with pooled negative"] * 4
    assert [query.guidance for query in network.queries] == [None, None, 5.0, 5.0]
    assert {query.level for query in network.queries} == {9.0}


def test_the_loop_of_the_docs_says_what_the_page_says():
    names = {}
    exec(re.search(r"```python\n(# my_guided.*?)```", DOCS, re.DOTALL)[1], names)
    verdict = check_guidance(names["pipeline"])
    assert f"`{verdict.sentence}`" in " ".join(DOCS.split())
    names["test_my_guidance"]()


@pytest.mark.slow(5)
@pytest.mark.filterwarnings("ignore")
def test_the_pipeline_of_the_docs_is_right():
    for package in ("diffusers", "transformers"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    names = {}
    exec(PIPELINE.read_text(encoding="utf-8"), names)
    names["pipe"].set_progress_bar_config(disable=True)
    assert_guided(names["pipeline"])


@pytest.mark.slow
@pytest.mark.parametrize("stds, means", [((1.0, 1.0), (0.5, -0.5)), ((0.8, 1.2), (0.5, 0.5))])
def test_the_guided_ode_of_two_gaussians_has_the_law_on_paper(stds, means, w=2.0):
    c, u = (Oracle((2 * std, std, 0.5 * std), mean) for std, mean in zip(stds, means, strict=True))

    def eps(x, sigma):
        return u.eps(x, sigma) + w * (c.eps(x, sigma) - u.eps(x, sigma))

    def sampler(denoiser, n_steps, noise):
        return wrappers.ours(Heun())(SimpleNamespace(eps=eps), n_steps, noise)

    limit = Oracle(tuple((u.true_stds ** (1 - w) * c.true_stds**w).tolist()), means[1] + w * (means[0] - means[1]))
    verdict = check(sampler, data=limit, budgets=(50, 100, 200))
    assert verdict.right, verdict.sentence
