"""The page of `ladders`: which noise levels should sampling visit, and by which sampler?"""

from dataclasses import replace

from reports import figures
from reports.formats import metric_name
from reports.page import Page
from reports.pages import sweep
from reports.results import Result
from reports.schema import JUDGE

WORDS = sweep.Words(place="with {}", title="How ladders and samplers differ")


def page(result: Result) -> Page:
    """The headline is on the largest number of evaluations."""
    page = sweep.page(result, WORDS, lambda groups: max(groups, key=lambda group: group.budget))
    name = metric_name(JUDGE, result.features)
    rows = result.runs[result.runs["nfe"] > 0]
    return replace(page, papers=[figures.quality(rows, "setting", JUDGE, name)] if len(rows) else ())
