"""`score --margin`: statuses, sentences, prompts, a reference, a control, metrics, the result folder and its page."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gates import MARGIN, N, judge, latents, run, save

from experiments import assert_harmless, compare, harmless
from experiments.run.cache import Cache
from experiments.scoring import command
from experiments.scoring import equivalence as module
from experiments.scoring.groups import groups_of
from experiments.scoring.inputs import Input, open_input
from experiments.user.json_io import read_json
from reports.render import read_page


def test_each_answer_has_its_status_and_the_margin_in_its_sentence(
    digits: np.ndarray, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digits[:N]
    save(here / "before", before)
    save(here / "slight", before // 4 * 4)
    save(here / "inverted", np.concatenate([255 - before[:30], before[30:]]))
    save(here / "seeds", digits[N : 2 * N])
    save(here / "half", np.concatenate([before[: N // 2]] * 2))

    answers = {}
    for after, status in {"slight": 0, "inverted": 1, "half": 1, "seeds": 3}.items():
        pairs = "none" if after == "seeds" else "auto"
        assert run("none", "before", after, "--margin", "0.02", "--pairs", pairs, "--out", f"out-{after}") == status
        answers[after] = json.loads(capsys.readouterr().out.splitlines()[-1])

    assert answers["slight"]["sentence"].startswith("harmless: the change is smaller than replacing 1.")
    assert answers["slight"]["sentence"].endswith(
        " % of the images could cause (95 % confidence, features digits, limit 2 %); 300 pairs, taken as independent"
    )
    assert answers["inverted"]["sentence"].startswith("harmful: the change is larger than replacing ")
    assert answers["inverted"]["worst"][0][0] in {f"p{at // 5}-{at % 5}" for at in range(30)}
    assert answers["half"]["sentence"] == "harmful: more copies 50 %, limit 2 %; 300 pairs, taken as independent"
    assert " would decide" in answers["seeds"]["sentence"] and answers["seeds"]["needed"] > N
    assert answers["seeds"]["pairs"] == "none" and answers["seeds"]["worst"] == []


@pytest.mark.parametrize(
    ("after", "margin", "status", "words"),
    [
        ("grey", "auto", 1, ("harmful: ", ", limit 3 %)")),
        ("slight", "auto", 3, ("not decided: ", "replacing 48 %", ", no margin is given)", "can show 48 % at best")),
        ("slight", "0.02", 3, ("not decided: ", "can show 48 % at best; about 2", " would decide")),
        ("slight", "0.49", 0, ("harmless: ", ", limit 49 %)")),
        ("same", "auto", 3, ("not decided: 10 of 10 pairs are identical, but no margin is given",)),
    ],
)
def test_ten_pairs_can_be_harmful_and_say_what_they_can_show(
    after: str, margin: str, status: int, words: tuple[str, ...],
    digits: np.ndarray, here: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    before = digits[:10]
    save(here / "before", before)
    save(here / after, {"grey": np.full_like(before, 128), "slight": before // 4 * 4, "same": before}[after])

    for _ in range(2 if margin == "0.49" else 1):  # the second time with stored features
        assert run("none", "before", after, "--margin", margin, "--out", "out") == status
        sentence = json.loads(capsys.readouterr().out.splitlines()[-1])["sentence"]
        assert [word for word in words if word not in sentence] == []
    assert caplog.messages[0] == f"{after}: 10 pairs can show 48 % at best"
    verdicts = set(pd.read_csv(here / "out/harms.csv")["verdict"])
    assert "harmless" not in verdicts or margin != "auto"
    assert ("margin not given" in str(read_page(here / "out").source)) == (margin == "auto")


def test_the_folder_has_the_checks_the_worst_pairs_and_a_page(digits: np.ndarray, here: Path) -> None:
    before, after = digits[:N], digits[:N].copy()
    after[::10] = 255 - after[::10]
    save(here / "before", before)
    save(here / "after", after)

    assert run("mnist5k", "before", "after", "--margin", "0.02", "--groups", "{prompt}-{seed}.png", "--out", "out") == 1

    rows = pd.read_csv(here / "out/harms.csv", keep_default_na=False)
    checks = list(rows["check"])
    assert checks[:2] == ["share in digits features", "more copies"] and "more grain" in checks
    contrasts = pd.read_csv(here / "out/contrasts.csv")
    assert list(contrasts["metric"]) == ["mmd", "kd", "fd", "copies", "copies"] and "train_seed" in contrasts
    assert (rows["a"] == "after").all() and (rows["b"] == "before").all()
    assert {path.name for path in (here / "out").glob("*.csv")} == {"harms.csv", "worst_pairs.csv", "contrasts.csv"}
    page = read_page(here / "out")
    assert page.lead == "Harmful:" and page.verdict.endswith(", limit 2 %); 300 pairs of 60 groups.")
    assert page.grid is not None and len(page.grid.rows) == 4
    assert all((here / "out/images" / f"{name}-4.png").is_file() for name in page.strips)
    assert [row.name for row in page.tables[1].rows][-1] == "FD"
    assert page.key_figures[1].notes[0].startswith("not: share in digits features")
    assert read_json(here / "out/run.json")["harmless"]["decided_by"] == "share in digits features"


def test_prompts_are_the_units_of_all_intervals_of_score(digits: np.ndarray, here: Path) -> None:
    near = np.sort(digits[:N].mean(axis=(1, 2)).argsort().reshape(60, 5), axis=1).ravel()
    before, after = digits[:N][near], digits[:N][near] // 2
    prompts = [at // 5 for at in range(N)]

    alone, together = (
        compare(digits[N:], before, after, features="digits", pairs="order", groups=groups)
        for groups in (None, prompts)
    )

    assert alone.difference.difference != together.difference.difference  # images of one prompt do not meet
    assert alone.difference.se != together.difference.se
    assert "set 1: 300 images in 60 groups, the units of intervals" in together.notes


def test_a_test_suite_gets_the_sentence(digits: np.ndarray, here: Path) -> None:
    before = digits[:N]
    assert_harmless(before, before // 2 * 2, 0.03, pairs="order", features="digits")
    with pytest.raises(
        AssertionError,
        match=r"harmful: the change is larger than replacing .* \(95 % confidence, features digits, limit",
    ):
        assert_harmless(before, before // 3, 0.03, pairs="order", features="digits")
    answer = judge(before, before // 2 * 2)
    assert (answer.margin, answer.checks[0].limit) == (None, 0.03)  # fewer than 500 pairs
    assert "lossless" not in str(answer)


def test_prompts_are_read_from_folders_names_and_tables(digits: np.ndarray, here: Path) -> None:
    store = Cache(here / "store")
    images = open_input(str(save(here / "flat", digits[:20])), store)
    nested = open_input(str(save(here / "nested", digits[:20], "p{}/{}.png")), store)
    names = [f"p{at // 5}-{at % 5}.png" for at in range(20)]
    pd.DataFrame({"file": names, "text": [at // 10 for at in range(20)]}).to_csv(here / "prompts.csv", index=False)

    def units(images: Input, groups: str | list[int]) -> np.ndarray:
        ids, note = groups_of(images, groups)
        assert not note
        return ids

    by_name, by_folder = units(images, "{prompt}-{seed}.png"), units(nested, "folder")
    assert by_name.tolist() == by_folder.tolist() == [at // 5 for at in range(20)]
    assert units(images, "prompts.csv:text").tolist() == [at // 10 for at in range(20)]
    (here / "marked.csv").write_text(
        "\ufeff" + "\n".join(["file,prompt", *(f"p{at // 5}-{at % 5}.jpg,{at // 5}" for at in reversed(range(20)))])
    )  # as a spreadsheet writes it, in another order and with names before the change
    assert units(images, "marked.csv").tolist() == by_name.tolist()
    words = replace(images, names=tuple(f"{at}-{'red blue'.split()[at % 2]}-car" for at in range(20)))
    assert units(words, "{seed}-{prompt}.png").tolist() == [1 - at % 2 for at in range(20)]
    assert units(images, [at % 3 for at in range(20)]).tolist() == [at % 3 for at in range(20)]
    for heading in ("file_name", "filename", "image_id", "any"):  # the column whose values are the names
        table = pd.DataFrame({"seed": range(20), heading: names, "prompt": [at // 5 for at in range(20)]})
        table[::-1].to_csv(here / "reversed.csv", index=False)
        assert units(images, "reversed.csv").tolist() == by_name.tolist()
    pd.DataFrame({"seed": range(20), "prompt": [at % 2 for at in range(20)]}).to_csv(here / "rows.csv", index=False)
    ids, note = groups_of(images, "rows.csv")
    assert ids.tolist() == [at % 2 for at in range(20)]
    assert note.startswith("rows of rows.csv are taken in the order of the images, since no column has the names of ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none", "before", "after"), "real='none': only --margin needs no real images"),
        (("none", "before", *MARGIN), "sets: 1 does not suit --margin"),
        (("none", "before", "after", "--margin", "2"), "margin=2: it is a share of images"),
        (("none", "before", "after", *MARGIN, "--fail-if-worse"), "fail_if_worse"),
        (("mnist5k", "before", "after", "--crops", "2"), "crops: this option needs --margin"),
        (("none", "before", "after", *MARGIN, "--pairs", "none", "--metrics", "python:no:no"), "order: pair them"),
        (("none", "before", "after", *MARGIN, "--crops", "2"), "crops of 64x64 need more"),
        (("none", "before", "after", *MARGIN, "--crops=-1"), "crops=-1: it must be at least 0"),
        *((("none", "before", "after", *MARGIN, "--groups", groups), message) for groups, message in (
            ("folder", "lies in no folder of a prompt"),
            ("x{prompt}.png", "is not named so"),
            ("one.csv.bak", "it must be folder, clips, FILE.csv"),
            ("two.csv", "p0-0 has two prompts"),
            ("few.csv", "it has no row for"),
            ("one.csv", "have one prompt"),
            ("no.csv", "it cannot be read"),
            ("one.csv:text", "it has no column 'text'"),
            ("gap.csv", "row 10 has no prompt"),
        )),
        (("none", "before", "after", *MARGIN, "--groups", "halves.csv"), "groups: they are 2, and an"),
        (("none", "before", "fewer", *MARGIN), "49 names are in both sets"),
        (("none", "before", "fewer", *MARGIN, "--pairs", "none"), "the same images in another order"),
        (("none", "before", "after", *MARGIN, "--groups", "{prompt}-{seed}.png", "--pairs", "none"), "they need pairs"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_one_line(
    arguments: tuple[str, ...], message: str, digits: np.ndarray, here: Path
) -> None:
    for name in ("before", "after"):
        save(here / name, digits[:50])
    (save(here / "fewer", digits[:50]) / "p3-3.png").unlink()
    names = [f"p{at // 5}-{at % 5}.png" for at in range(50)]
    pd.DataFrame({"name": [*names, names[0]], "prompt": [*range(50), 9]}).to_csv(here / "two.csv", index=False)
    pd.DataFrame({"name": names[:9], "prompt": range(9)}).to_csv(here / "few.csv", index=False)
    pd.DataFrame({"name": names, "prompt": np.arange(50) // 25}).to_csv(here / "halves.csv", index=False)
    pd.DataFrame({"name": names, "prompt": 1}).to_csv(here / "one.csv", index=False)
    pd.DataFrame({"name": names, "prompt": [*range(9), None, *range(40)]}).to_csv(here / "gap.csv", index=False)
    with pytest.raises(ValueError, match=message) as error:
        run(*arguments)
    assert "\n" not in str(error.value)


def test_a_reference_a_prompt_of_one_image_and_the_worst_pair_are_said(digits: np.ndarray, here: Path) -> None:
    after = digits[:N] // 2 * 2
    after[123] = 255 - after[123]

    answer = harmless(digits[:N], after, 0.02, range(N), reference="mnist5k", pairs="order")

    assert answer.scores is not None and answer.checks[0].check == "share in digits features"
    assert [space.features for space in answer.scores.spaces] == ["digits"]
    assert answer.notes[0] == "every group has one image, so images are the units of intervals"
    assert answer.verdict == "harmless" and answer.worst[0][0] == "image 123"
    assert all(0 <= share <= 1 for _, share in answer.worst)


def test_what_was_not_changed_is_said(digits: np.ndarray, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(here / "before", digits[:N])
    save(here / "after", digits[:N])
    (here / "link").symlink_to("before")
    for other in ("before", "link"):
        with pytest.raises(ValueError, match="are one folder or file; name two"):
            run("none", "before", other, "--margin", "0.02")
    assert run("none", "before", "after", "--margin", "0.002", "--out", "out") == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (summary["sentence"], summary["unchanged"]) == ("harmless: 300 of 300 pairs are identical", N)
    some = digits[:N].copy()
    some[:30] //= 2
    notes = judge(digits[:N], some, 0.05).notes
    assert "270 of 300 pairs are identical" in notes
    few = judge(digits[:N], some, 0.01)
    assert ", can show 1.6 % at best" in few.sentence and few.at_best == pytest.approx(4.75 / N)


def test_the_sentence_names_what_is_not_decided_and_percentages_are_plain() -> None:
    first = module.EquivalenceCheck("share in natural features", 0.001, 0, 0.01, 0.02, "harmless")
    crops = module.EquivalenceCheck("share in crops, natural features", 0.019, 0.01, 0.025, 0.02, "not decided")
    answer = module.Harmless("a", "b", 0.02, "natural", (first, crops), 600, 600, 0, 0.0079, "names", None, ())

    assert "but share in crops, natural features is up to 2.5 %; 600 pairs, taken" in answer.sentence
    assert answer.decided_by == "share in crops, natural features"
    grouped = replace(answer, checks=(replace(first, high=0.03, verdict="not decided"),), n_units=100, needed=1_501)
    assert grouped.sentence.endswith("600 pairs of 100 groups, can show 0.79 % at best; about 1,501 in 251 groups would"
                                     " decide")  # fmt: skip
    wide = replace(answer, checks=(replace(first, high=1.0, verdict="not decided"),))
    assert "not decided: the change is smaller than replacing 100 % of the images could cause (95 %" in wide.sentence


def test_the_unchanged_pipeline_and_metrics_of_the_user_are_shown_and_do_not_decide(
    digits: np.ndarray, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digits[:N]
    for name, images in {"before": before, "slight": before // 2 * 2, "damaged": np.roll(before, 1, axis=0)}.items():
        np.save(here / f"{name}.npy", images)
    (here / "my_metrics.py").write_text(
        "def mae(before, after):\n    assert before.shape == (1, 32, 32) and before.dtype == after.dtype\n"
        "    return (before.float() - after.float()).abs().mean()\n"
        "def psnr(before, after):\n    return -10 * (before.float() - after.float()).square().mean().log10()\n"
    )
    gate = (*MARGIN, "--pairs", "order", "--out", "out")
    arguments = ("none", "before.npy", "slight.npy", *gate, "--groups", "groups.csv")
    pd.DataFrame({"prompt": np.arange(N) // 3}).to_csv(here / "groups.csv")
    np.save(here / "other.npy", before // 3)

    assert run(*arguments, "--control", "other.npy", "--metrics", "python:my_metrics:mae") == 3
    page = read_page(here / "out")
    assert run(*arguments) == 3

    both, alone = (json.loads(line) for line in capsys.readouterr().out.splitlines() if line[0] == "{")
    assert both["checks"] == alone["checks"] and "control" not in alone
    assert both["control"]["share in digits features"]["verdict"] == "harmful"
    assert both["notes"][0].startswith("other.npy (control): the unchanged pipeline differs from itself as far as repl")
    assert both["notes"][0].endswith("; by the same limits it is harmful (share in digits features)")
    after, control = both["metrics"]
    change = np.abs(before - before // 2 * 2.0).mean((1, 2))
    se = change.reshape(-1, 3).mean(1).std(ddof=1) / 10  # groups of three
    assert after["mean"] == pytest.approx(change.mean()) and after["largest"] == pytest.approx(change.max())
    assert after["high"] - after["mean"] == pytest.approx(1.984217 * se, rel=1e-4)
    assert after["pair"] == f"image {change.argmax()}" and control["a"] == "other.npy (control)"
    assert [table.title for table in page.tables] == ["What must hold", "The unchanged pipeline, which does not decide"]
    mae = page.key_figures[-1]
    assert (mae.label, mae.value) == ("mae", f"{change.mean():.3f}")
    assert mae.notes[1] == f"largest {change.max():.3f}: image {change.argmax()}"
    assert mae.notes[2].startswith("unchanged pipeline ")
    np.save(here / "same.npy", before)
    slightly = np.concatenate([before[:100], before[100:] // 2 * 2])
    answer = judge(before, slightly, 0.05, metrics=lambda a, b: 1 / (a != b).sum())
    assert "metric <lambda> of after: 100 of 300 pairs, of which it is not finite, are left out" in answer.notes
    assert answer.metrics[0]["largest"] == pytest.approx(1 / (slightly != before)[100:].sum((1, 2)).min())
    for name, values in {"lat.npy": latents(), "lat2.npy": latents() * 1.01}.items():
        np.save(here / name, values)
    for one, other, message in (
        ("before", "same", "psnr of same.npy: it is inf for "),
        ("lat", "lat2", "lat.npy holds no images"),
    ):
        with pytest.raises(ValueError, match=message):
            command.command(
                ("none", f"{one}.npy", f"{other}.npy", *gate, "--metrics", "python:my_metrics:psnr"), "score"
            )
