"""The command line: ``workbench VERB``. Each verb is a few lines over a lower floor; bad input is one line, exit 2.

Nothing heavy is imported before a verb needs it: ``workbench --help`` and ``workbench list`` load no torch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from .. import __version__
from ..errors import WorkbenchError
from . import app as pages
from . import classroom, course, look, runs, wire

PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}  # for verbs that hand their options to a tool
UsageError: type[Exception] = cast(type[Exception], typer.BadParameter.__mro__[1])  # typer does not export it


class _StoppedError(Exception):
    """Ctrl-C, under a name of ours: some versions of typer turn it into Abort, some into a plain exit code."""


class _Group(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as e:
            raise _StoppedError from e


app = typer.Typer(
    cls=_Group,
    help="Build, see, measure, wire and train efficient vision backbones.",
    add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False,
)  # fmt: skip


def _version(asked: bool) -> None:
    if asked:
        print(f"workbench {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", help="Show it.", callback=_version, is_eager=True)] = False,
) -> None:
    """Take the options that stand before a verb; `_version` has acted on the only one."""


app.command("list")(look.list_)
app.command("info")(look.info)
app.command("measure")(look.measure)
app.command("yaml")(wire.yaml_)
app.command("layers")(wire.layers)
app.command("yolo", context_settings=PASS_ON, add_help_option=False)(wire.yolo)
app.command("surgery")(wire.surgery)
app.command("data")(course.data)
app.command("train")(course.train)
app.command("sweep")(runs.sweep)
app.command("results")(runs.results)

app.add_typer(classroom.app, name="class")
app.command("doctor")(course.doctor)
app.command("lab", context_settings=PASS_ON, add_help_option=False)(course.lab)
app.command("app", context_settings=PASS_ON, add_help_option=False)(pages.app)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0; 1 when the thing done failed; 2 for bad input.

    >>> main(["list", "starnet_s1"])
    starnet_s1
    0
    """
    try:
        code = app(args=argv, prog_name="workbench", standalone_mode=False)
        sys.stdout.flush()
        return int(code or 0)
    except BrokenPipeError:  # `workbench list | head -1`: nobody reads on, which is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except UsageError as e:
        return _refuse(_usage(e))
    except WorkbenchError as e:
        return _refuse(str(e))
    except OSError as e:
        return _refuse(
            f"{e.filename}: {e.strerror}; give a path that is there and yours to write" if e.filename else str(e)
        )
    except (_StoppedError, KeyboardInterrupt, typer.Abort) as e:
        told = getattr(e.__cause__, "__notes__", None)  # a training or a sweep has said how to go on
        print("" if told else "\nworkbench: interrupted; nothing is left half done, give it again", file=sys.stderr)
        return 130


def _usage(error: Exception) -> str:
    if type(error).__name__ == "NoArgsIsHelpError":
        return str(error)
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "workbench"
    return f"{error.format_message().rstrip('.')}; `{command} --help` lists the options"  # type: ignore[attr-defined]


def _refuse(message: str) -> int:
    text = message if message.startswith("Usage:") else "workbench: " + " ".join(message.split())
    print(text, file=sys.stderr)
    return 2
