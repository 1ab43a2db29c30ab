"""The ``s3-assets`` command: its list of commands, and errors as messages.

Belongs here: registering commands, turning known errors into one message and an exit code. Does not belong here:
what a command does (the modules beside this one).
"""

import sys

import typer

from s3_assets.cli.catalog import catalog
from s3_assets.cli.check import check
from s3_assets.cli.compare import compare
from s3_assets.cli.demo import demo
from s3_assets.cli.estimate import estimate
from s3_assets.cli.export import export
from s3_assets.cli.leaderboard import leaderboard
from s3_assets.cli.ledger import ledger
from s3_assets.cli.lineage import lineage
from s3_assets.cli.new_task import new_task
from s3_assets.cli.predict import predict
from s3_assets.cli.report import report
from s3_assets.cli.reset import reset
from s3_assets.cli.review import review
from s3_assets.cli.run import RunFailed, run
from s3_assets.cli.snapshot import snapshot
from s3_assets.cli.sql import sql
from s3_assets.cli.status import status
from s3_assets.leaving import leave_quickly
from s3_assets.loop.state import NotReady
from s3_assets.student.weights import WeightsError
from s3_assets.tasks.load import TaskError
from s3_assets.teacher.transfer import TransferError

app = typer.Typer(
    help="Train small NLP models on data a large model writes, each round aimed at what the small one gets wrong.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("new-task")(new_task)
app.command("check")(check)
app.command("estimate")(estimate)
app.command("run")(run)
app.command("status")(status)
app.command("compare")(compare)
app.command("leaderboard")(leaderboard)
app.command("report")(report)
app.command("predict")(predict)
app.command("export")(export)
app.command("sql")(sql)
app.command("lineage")(lineage)
app.command("review")(review)
app.command("reset")(reset)
app.add_typer(ledger, name="ledger")
app.command("catalog")(catalog)
app.command("snapshot")(snapshot)
app.command("demo")(demo)


def main() -> None:
    """Entry point. Exit code 2 for a problem the user can mend, 1 for a step that failed; both with a message."""
    leave_quickly()
    try:
        app()
    except RunFailed as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    except (TaskError, NotReady, WeightsError, TransferError) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
