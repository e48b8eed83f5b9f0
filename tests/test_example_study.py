"""A study as a package of its own: the example of docs/sweeps.md brings all that it needs."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from smoke import smoke

from experiments.command_line import commands
from reports.render import write_report

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "docs" / "example_study"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package and its entry points, as an installation would leave them."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(EXAMPLE / "scaled_eps", folder / "scaled_eps")
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    (info := folder / "scaled_eps-0.1.dist-info").mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups))
    return folder


@pytest.mark.slow(4)
@pytest.mark.usefixtures("drawn")
def test_a_package_brings_a_study(installed: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(installed)
        commands.cache_clear()
        done = smoke(tmp_path, "scaled_eps", "--n-samples", "40")
    commands.cache_clear()
    table, sizes = done.rows(), done.rows("eps_sizes")
    assert set(table["network"]) == {"eps × 1", "eps × 1.1"} and (table["status"] == "ok").all()
    by_factor = sizes.groupby("factor")["eps_size"].mean()
    assert by_factor[1.1] == pytest.approx(1.1 * by_factor[1.0])
    text = done.report
    assert text.startswith("# Does noise repair an eps of the wrong size?") and "## The size of eps" in text

    (done.out / "report.md").unlink()
    code = f"import sys, pathlib, reports.render as r; r.write_report(pathlib.Path({str(done.out)!r})); "
    code += "assert not {'torch', 'experiments'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(installed)}, check=True)
    assert done.report == text

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLE)  # it could be imported, but no entry point names it
        with pytest.raises(ValueError, match="experiment='scaled_eps': no page is installed for it"):
            write_report(done.out)
