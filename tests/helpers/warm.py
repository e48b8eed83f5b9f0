"""Runs `python -m ...` and `python -c ...` in a fresh process that is forked from one which has imported everything.

Importing PyTorch, pandas and Matplotlib takes five seconds of a core, and most commands of the tests less than that. So
one server per test session imports them once, computes nothing, and forks. What a command imports at its start, and
with which warnings, is therefore tested elsewhere: by the few tests that start an interpreter of their own.
"""

import multiprocessing
import os
import runpy
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from tempfile import mkdtemp

ROOT = Path(__file__).parents[2]
FORKSERVER = multiprocessing.get_context("forkserver")
PRELOADED = [f"experiments.{name}" for name in ("beta", "schedules", "noise_levels", "questions", "sweep")]
FORKSERVER.set_forkserver_preload([*PRELOADED, "reports"])


class Command:
    """`python *arguments` in a process of its own, with warnings as errors; its output is kept in files.

    Args:
        arguments: "-m", a module and its arguments; or "-c" and code with its arguments.
        cwd: the working folder.
        drawn: draw the figures of reports, but do not lay them out, which takes most of the time.
    """

    def __init__(self, *arguments: str, cwd: Path = ROOT, drawn: bool = False):
        self.arguments = arguments
        self.folder = Path(mkdtemp(prefix="command-"))
        known = (arguments, str(cwd), str(self.folder), dict(os.environ), drawn)
        self.process = FORKSERVER.Process(target=_run, args=known)
        self.process.start()

    @property
    def returncode(self) -> int | None:
        """The exit status, negative after a signal; None while it runs."""
        return self.process.exitcode

    def wait(self, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Its exit status and output, once it has ended. Raises TimeoutExpired, and kills it, if that takes longer."""
        self.process.join(timeout)
        late = self.returncode is None
        self.process.kill()
        self.process.join()
        files = (self.folder / "out", self.folder / "err")
        out, error = (file.read_text(encoding="utf-8") if file.exists() else "" for file in files)
        shutil.rmtree(self.folder, ignore_errors=True)
        if late:
            raise subprocess.TimeoutExpired(self.arguments, timeout, out, error)
        assert self.returncode is not None
        return subprocess.CompletedProcess(self.arguments, self.returncode, out, error)

    def send_signal(self, which: signal.Signals):
        assert self.process.pid is not None
        os.kill(self.process.pid, which)


def run(*arguments: str, cwd: Path = ROOT, drawn: bool = False) -> subprocess.CompletedProcess[str]:
    """The same, to its end."""
    return Command(*arguments, cwd=cwd, drawn=drawn).wait()


def _run(arguments: tuple[str, ...], cwd: str, folder: str, environment: dict[str, str], drawn: bool):
    """In the new process: what the interpreter does with its command line."""
    for name, descriptor in (("out", 1), ("err", 2)):
        file = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT)
        os.dup2(file, descriptor)
        os.close(file)
    sys.stdout, sys.stderr = (os.fdopen(descriptor, "w", encoding="utf-8") for descriptor in (1, 2))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background would ignore it
    warnings.resetwarnings()
    warnings.simplefilter("error")
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    if drawn:
        import reports.figures

        reports.figures.svg = lambda drawing: "<svg/>"
    option, what, *rest = arguments
    if option == "-m":
        sys.argv = [what, *rest]
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        assert option == "-c", option
        sys.argv = [option, *rest]
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
