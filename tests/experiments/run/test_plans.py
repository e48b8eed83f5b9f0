"""The plans of all studies are those of plans.json. `python tests/experiments/run/test_plans.py` writes it anew."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from experiments.choose import choose, confirmed, explored, list_candidates, read_choices
from experiments.cli import parse
from experiments.run.identity import canonical, identity, identity_of_json, plain_json
from experiments.run.study import Study
from experiments.settings import Setting

FILE = Path(__file__).with_name("plans.json")
COMMANDS = (
    "beta",
    "beta --only-primary",
    "beta --choices none --sigma-min 0.003",
    "beta --features natural --budgets 8 16 --n-steps 18 --curve-etas 0.7 --betas 0.1",
    "schedules",
    'schedules --budgets 8 --schedules karras "vp(end=0)" --sigma-max 20 --etas 0.3 --last-levels 0.1',
    "noise_levels",
    'noise_levels --etas 0 --cross --train-noise edm "sd3(shift=3)" --weightings karras unit-eps --n-steps 9',
    "sweep --vary eta=0,1 schedule=karras,vp train-noise=log-normal,edm2",
    "sweep --vary recipe=plain,fast sampler=euler,heun eta=0,1 shift=1,3 evaluations=8,9 lr=1e-3 --no-confirm",
)


def describe_plan(command: str) -> str:
    """A hash of the settings that are planned, explored and, if the first ones are chosen, confirmed; their number."""
    name, *arguments = shlex.split(command)
    study: Any = parse(name, [*arguments, "--data", "mnist5k"], "")[0]
    settings = [*study.settings()]
    if study.choices_path:
        chosen = read_choices(study.choices_path, study, study.network, "digits").chosen
    else:
        tried = explored(study)
        settings += tried
        candidates = list_candidates(study, [setting for setting in tried if not setting.impossible])
        chosen = choose(candidates, within=study.within)
    lines = sorted(describe(setting, study) for setting in settings + confirmed(study, chosen))
    return f"{identity_of_json(lines)}, {len(lines)} settings"


def describe(setting: Setting, study: Study) -> str:
    """What a setting is: its identity has neither its names nor its networks."""
    names = [setting.section, setting.budget, setting.label, identity(setting), bool(setting.impossible)]
    training = canonical(tuple(sorted(setting.training.items())))
    return plain_json([names, *study.sizes(setting.section), training])


def describe_plans() -> dict[str, str]:
    commands = (f"{command} --preset {preset}" for command in COMMANDS for preset in Study.presets)
    return {command: describe_plan(command) for command in commands}


@pytest.mark.slow(10)
def test_plans_are_those_of_the_file():
    before, now = json.loads(FILE.read_text()), describe_plans()
    changed = [name for name in before | now if before.get(name) != now.get(name)]
    assert not changed, f"other settings than before; if that is meant, python {__file__}: {changed}"


if __name__ == "__main__":
    FILE.write_text(json.dumps(describe_plans(), indent=1) + "\n")
