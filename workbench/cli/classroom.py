"""``workbench class``: an assignment from its source to a table of marks, in the course folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import WorkbenchError
from ..files import replace_text, replacing

app = typer.Typer(help="Assignments: build, collect, grade in a sandbox, list marks.", no_args_is_help=True)
Assignment = Annotated[str, typer.Argument(help="Its name, such as a1.")]


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="New or empty folder, or a course that lacks assignments.")],
) -> None:
    """Make a course folder with the five assignments. It has nbgrader's layout."""
    from ..classroom.init import init_course

    course, copied = init_course(folder)
    print(
        f"{course.root}: {', '.join(copied) or 'nothing'} copied into source; next: workbench class build a1, in there"
    )


@app.command()
def build(assignment: Assignment) -> None:
    """Make what students get. Nothing of the solution may be in it, and that is checked."""
    from ..classroom import Course
    from ..classroom.build import build as make

    print(make(Course.here(), assignment))


@app.command()
def release(assignment: Assignment) -> None:
    """Pack the built assignment as an archive for students."""
    from ..classroom import Course
    from ..classroom.release import release as pack

    print(pack(Course.here(), assignment))


@app.command()
def collect(
    assignment: Assignment,
    paths: Annotated[list[Path], typer.Argument(help="Archives of Moodle, Canvas …; folders; notebooks.")],
    student: Annotated[str, typer.Option(help="Whose all of it is, where the files do not say.")] = "",
    due: Annotated[str | None, typer.Option(help="Local time, '2026-11-28 23:59'; later is marked late.")] = None,
) -> None:
    """Take in what students handed in. Says what became of every file."""
    from ..classroom import Course
    from ..classroom.collect import collect as take

    print(take(Course.here(), assignment, paths, student=student, due=due))


@app.command()
def grade(
    assignment: Assignment,
    student: Annotated[list[str] | None, typer.Option(help="Only this one, and anew; may be repeated.")] = None,
    question: Annotated[str | None, typer.Option(help="Only this one, of graded submissions.")] = None,
    jobs: Annotated[int, typer.Option(help="Submissions at the same time.")] = 1,
    engine: Annotated[str, typer.Option(help="local (processes here) or ray.")] = "local",
    address: Annotated[str | None, typer.Option(help="Of a running Ray cluster.")] = None,
    trusted: Annotated[bool, typer.Option(help="The code is trusted: run it without a sandbox.")] = False,
    again: Annotated[bool, typer.Option(help="Also what has not changed since.")] = False,
) -> None:
    """Run hand-ins in a sandbox. The marks are decided outside of it."""
    from ..classroom import Course, grade_assignment

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    done = grade_assignment(
        Course.here(), assignment, students=student, question=question, jobs=jobs, engine=engine, address=address,
        trusted=trusted, again=again, on_progress=say,
    )  # fmt: skip
    failed = sum(r.status == "failed" for r in done)
    print(f"{assignment}: {len(done)} graded{f', {failed} of them could not be run' if failed else ''}")


@app.command()
def marks(
    assignment: Assignment,
    csv: Annotated[Path | None, typer.Option(help="Write the table for a spreadsheet here.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the distribution into this file.")] = None,
    by_hand: Annotated[bool, typer.Option(help="Write the texts on one page, and the table for their marks.")] = False,
) -> None:
    """Show the marks by question. As CSV and as a figure where wanted."""
    from ..classroom import Course
    from ..classroom.marks import read_marks, write_by_hand
    from ..classroom.reading import write_reading

    course = Course.here()
    found = read_marks(course, assignment)
    print(found)
    if csv is not None:
        replace_text(csv, "\ufeff" + found.to_csv())  # spreadsheets read UTF-8 only with this mark
    if by_hand:
        print(f"read the texts in {write_reading(course, found)}")
        print(f"enter marks in {write_by_hand(course, found)}")
    if plot is not None:
        _draw(found, plot)


@app.command()
def leaderboard(
    assignment: Assignment,
    pseudonyms: Annotated[bool, typer.Option(help="Show pseudonyms, drawn once by lot, instead of names.")] = False,
) -> None:
    """Write a page of the capstone's detectors. mAP, MACs and latency, as measured outside the notebooks."""
    from ..classroom import Course
    from ..classroom.leaderboard import read_board, write_board

    course = Course.here()
    board = read_board(course, assignment, pseudonyms)
    for path in write_board(course, board):
        print(path)
    for group in board.same:
        print(f"the same network, to the last bit: {', '.join(group)}")


@app.command()
def feedback(assignment: Assignment) -> None:
    """Write a page for each graded student. Marks and messages, nothing of the hidden tests."""
    from ..classroom import Course
    from ..classroom.feedback import feedback as write

    course = Course.here()
    print(f"{assignment}: {len(write(course, assignment))} pages in {course.root / 'feedback'}")


def _draw(found: object, plot: Path) -> None:
    from matplotlib.figure import Figure

    from ..classroom.marks import Marks
    from ..plots.marks import mark_distribution, question_shares

    assert isinstance(found, Marks)
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    points = [line.record.points for line in found.graded if line.record]
    mark_distribution(points, sum(q.points for q in found.tests), left)
    question_shares(found.shares(), right)
    try:
        with replacing(plot) as part:
            figure.savefig(part)
    except ValueError as e:  # an ending matplotlib does not know
        raise WorkbenchError(f"cannot draw into {plot}: {e}") from None


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="Its name (a1), its notebook, or the folder of that.")] = Path(),
) -> None:
    """Run a notebook as grading will, before it is handed in. Says what its visible tests say."""
    from ..classroom.check import check as look

    found = look(path)
    print(found)
    if not found.ok:
        raise typer.Exit(1)
