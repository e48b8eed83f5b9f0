"""The page of `tune`: which sampler settings should this network be used with?"""

import json
from dataclasses import replace

from reports import figures
from reports.formats import capital, metric_name, missing, number, plural, scaled
from reports.page import Code, Page
from reports.pages import sweep
from reports.pages.sweep import Group
from reports.results import Result
from reports.schema import BETTER, JUDGE

RACE = "race"  # section of the settings that race
SETTINGS = "settings.json"
WORDS = sweep.Words(place="with {}", title="How the finalists differ from your default")


def page(result: Result) -> Page:
    """The headline is on the smallest number of evaluations with a detectable gain, else on the largest."""
    race = result.table["section"] == RACE
    confirmed = replace(result, tables={**result.tables, "table": result.table[~race]})
    page = sweep.page(confirmed, WORDS, headline)
    groups = sweep.read(confirmed)
    group = headline(groups) if groups and not page.failed else None
    if group and not group.why and not (group.contrasts["verdict"] == BETTER).any():
        page = replace(page, lead=f"Keep your default, {group.baseline}.", verdict=kept(confirmed, group))
    short = [str(note) for note in result.info.get("notes", []) if str(note).startswith("the time is ")]
    if not groups and short:
        why, *_ = short[0].split("; ")
        page = replace(page, verdict=f"{capital(why)}. The same command goes on from what is stored.")
    raced = ""
    if len(result.race):
        raced = f"{plural(len(result.race.drop_duplicates(['budget', 'setting'])), 'setting')} raced on "
        raced += (
            f"{number(result.race['n_samples'].min(), 0)} images each; the tables show the best, confirmed on other "
        )
        raced += "images. race.csv has all. "
    name = metric_name(JUDGE, result.features)
    return replace(
        page, codes=codes(result), note=raced + page.note,
        papers=[figures.quality(confirmed.runs, "setting", JUDGE, name)] if len(confirmed.runs) else (),
    )  # fmt: skip


def headline(groups: list[Group]) -> Group:
    gains = [group for group in groups if group.winner is not None]
    return min(gains, key=lambda group: group.budget) if gains else max(groups, key=lambda group: group.budget)


def kept(result: Result, group: Group) -> str:
    """Why the default is kept, and what could have been detected."""
    name, detectable = metric_name(JUDGE, result.features), group.nearest["detectable"]
    power = "" if missing(detectable) else f"; this run could have detected {scaled(JUDGE, detectable)} in {name}"
    return f"No setting is detectably better{power}."


def codes(result: Result) -> list[Code]:
    """What can be pasted, from settings.json. Each says whether it was compared with the samples that were measured."""
    path = result.folder / SETTINGS
    if not path.is_file():
        return []
    found = []
    try:
        for one in json.loads(path.read_text(encoding="utf-8"))["settings"]:
            title = f"{plural(one['budget'], 'evaluation')}, {one['setting']}"
            for library, file in sorted(one["exports"].items(), key=lambda pair: pair[0] != "torch"):
                inside = result.folder / "export" / file.rpartition("/")[2]  # never a file of another folder
                why = one.get("not_compared", {}).get(library)
                note = f" (not compared with our samples: {why})" if why else ""
                found.append(Code(f"{title}: {library}{note}", inside.read_text(encoding="utf-8")))
            for library, why in sorted(one.get("no_exports", {}).items()):
                found.append(Code(f"{title}: no code for {library}", f"# {why}"))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{SETTINGS}: it is not as the run wrote it: {type(error).__name__}: {error}") from None
    return found
