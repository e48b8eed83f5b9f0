"""Every command knows every name; schedulers of diffusers compete, and score as the same samplers here."""

import sys
from pathlib import Path

import pytest
from smoke import known_images, smoke, typed

from bench.loops import of_sampler
from experiments.names import parse_sampler
from experiments.settings import Setting

pytest.importorskip("diffusers", reason="diffusers is not installed (extra `diffusers`)")
PARTS = """
from dataclasses import dataclass
from diffusers import DPMSolverMultistepScheduler
from experiments import Euler, Schedule

scheduler = DPMSolverMultistepScheduler(use_karras_sigmas=True)

@dataclass(frozen=True)
class Mine(Euler):
    eta: float = 0.3

@dataclass(frozen=True)
class Even(Schedule):
    def sigmas(self):
        step = (self.sigma_max - self.sigma_min) / self.n_steps
        return tuple(self.sigma_max - at * step for at in range(self.n_steps + 1))
"""
KARRAS = "diffusers:DPMSolverMultistepScheduler(use_karras_sigmas=True)"
NAMES = {  # what is typed -> what is printed
    "euler-ancestral": "euler(eta=1)",
    "parts_xyz:Mine(0.5)": "parts_xyz:Mine(eta=0.5)",
    "parts_xyz:scheduler": KARRAS,
    KARRAS: KARRAS,
    "diffusers:DDIMScheduler(timestep_spacing=trailing, eta=1.0)": (
        "diffusers:DDIMScheduler(eta=1, timestep_spacing=trailing)"
    ),
}
COMMANDS = (
    "beta --choices none --schedules linear --budgets 8 --samplers NAME",
    "schedules --budgets 8 --schedules linear --samplers NAME",
    "sweep --no-confirm --vary evaluations=8 sampler=heun,NAME",
)


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "parts_xyz.py").write_text(PARTS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("experiments.user.imports.TEXTS", {})
    yield
    sys.modules.pop("parts_xyz", None)


@pytest.mark.slow(20)
@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("name", NAMES)
def test_every_command_knows_a_sampler(name: str, tmp_path: Path):
    known_images(tmp_path / "store")
    for command in COMMANDS:
        words = [word.replace("NAME", name) for word in command.split()]
        done = smoke(tmp_path, *words, "--network", "exact", "--dry-run")
        assert done.summary["samples"]["left"] > 1
    for command in ("check-sampler", "levels"):
        ended = typed(command, name, "--out", str(tmp_path / command))
        assert ended.status in (0, 1)
        clips = "DDIM" in name and command == "check-sampler"
        assert (
            "the likely cause: clip_sample limits the denoised image; give clip_sample=False" in ended.stdout
        ) == clips
    sampler = parse_sampler(name)
    assert sampler.name == NAMES[name] and of_sampler("mine", "yours", sampler)[0].sigmas(8)


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("text", [
    "parts_xyz:Even(30, 0.03), parts_xyz:Mine(eta=0.5), 8", "parts_xyz:Even(30, 0.3, end=0), heun, 9",
    f"{KARRAS}, 8", f"{KARRAS}, dpm++2m, 8", "diffusers:HeunDiscreteScheduler, 4 steps",
    "diffusers:DDIMScheduler(eta=1, timestep_spacing=trailing), 12; lr=0.001",
])  # fmt: skip
def test_a_setting_of_others_is_its_text(text: str):
    setting = Setting.parse(text, 0.55)
    assert str(setting) == text and Setting.parse(str(setting), 0.55) == setting


TWINS = """
from dataclasses import dataclass, replace
from experiments import Setting, Study

@dataclass(frozen=True)
class Twins(Study):
    question = "Do they score as their twins here?"

    def settings(self):
        spacing = "timestep_spacing=trailing"
        for ours, theirs in (
            ("euler(eta=1)", f"diffusers:EulerAncestralDiscreteScheduler({spacing})"),
            ("euler", f"diffusers:EulerDiscreteScheduler({spacing})"),
            ("dpm++2m", f"diffusers:DPMSolverMultistepScheduler(final_sigmas_type=zero, {spacing})"),
        ):
            for text in (f"{theirs}, 8", f"{theirs}, {ours}, 8"):
                yield replace(Setting.parse(text, self.data_std), section=ours)
"""


@pytest.mark.slow(10)
@pytest.mark.usefixtures("drawn")
def test_schedulers_of_diffusers_score_as_their_twins_here(tmp_path: Path):
    (tmp_path / "twins.py").write_text(TWINS)
    done = smoke(tmp_path, "sweep", str(tmp_path / "twins.py"), "--network", "exact")
    table = done.rows()
    assert [*table["nfe"]] == [8] * 6 and not table["samples_id"].duplicated().any()
    for name, tolerance in {"mmd": 1e-6, "fd": 1e-3, "precision": 0, "recall": 0}.items():
        theirs, ours = table[name][::2], table[name][1::2]
        assert [*ours] == pytest.approx([*theirs], abs=tolerance), name
    assert "diffusers:EulerAncestralDiscreteScheduler" in done.report
