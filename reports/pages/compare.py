"""The page of `compare`: two results of one experiment, before and after a change."""

from reports import contrast, settings
from reports.details import list_details
from reports.formats import add_correction, capital, join
from reports.page import Page
from reports.pages.sweep import TERMS, empty_page, read_sections
from reports.results import LoadedResult


def page(result: LoadedResult) -> Page:
    """The clearest change in words; each section of the result is a setting, before a change and after it."""
    if not (sections := read_sections(result)):
        return empty_page(result)
    sections.sort(key=lambda section: (bool(section.no_verdict), section.nearest["p_value"]))
    clearest = sections[0]
    row = clearest.nearest
    verdicts = [section.nearest["verdict"] for section in sections]
    size = contrast.format_change(result, row)
    text = add_correction(f"{clearest.name}: {size}", row)
    if clearest.no_verdict:
        text = f"{capital(clearest.no_verdict)}. {text}"
    if len(sections) > 1:
        counts = join(f"{verdicts.count(word)} {word}" for word in dict.fromkeys(verdicts))
        text += f". Of {len(sections)} settings: {counts}"
    lines = [(section.nearest, section.name, section.baseline) for section in sections[: settings.ROWS]]
    before, after = ((clearest.row(name), capital(name), clearest.name) for name in ("before", "after"))
    return contrast.compose_page(
        result, row, (f"{capital(row['verdict'])}.", f"{text}."), before, after,
        figures=contrast.draw_differences("How the settings changed", {"After the change": lines}, result),
        details=list_details(result, *TERMS),
    )  # fmt: skip
