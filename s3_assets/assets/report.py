"""The ``report`` asset. Only its declaration belongs here; the page and its pictures are in ``report/``."""

from datetime import UTC, datetime

import dagster as dg

from s3_assets.assets.common import task_asset
from s3_assets.assets.shown import Events
from s3_assets.loop.fingerprints import DRIFT, ERROR_SET, REPORT
from s3_assets.loop.state import NotReady
from s3_assets.resources import WarehouseResource
from s3_assets.tasks.load import Task, TaskError

DESCRIPTION = (
    "Pictures of the task's rounds on one HTML page, in the warehouse's folder `reports`: scores, drift, a map of "
    "texts, rows asked for and accepted, cost, errors followed up.\n\n"
    "Shows what is there when it is made, all rounds; `s3-assets report` writes the same page anywhere. Texts of "
    "gold that does not steer are not on it."
)
FOLDER = "reports"


def report_asset(task: Task) -> dg.AssetsDefinition:
    """``<task>/report``, not partitioned."""

    @task_asset(task, REPORT, DESCRIPTION, [ERROR_SET, DRIFT], {"html", "matplotlib"})
    def report(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Events:
        from s3_assets.report.drawing import markdown_picture
        from s3_assets.report.page import main_pictures, read_report, render, report_numbers, write_page

        store = warehouse.open()
        try:
            found = read_report(task, store)
        except (NotReady, TaskError) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        file = store.root / FOLDER / f"{task.name}.html"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_page(file, render(found, datetime.now(UTC)))
        yield dg.MaterializeResult(
            asset_key=context.asset_key,
            metadata={
                **{name: round(value, 4) for name, value in report_numbers(found).items()},
                # From the warehouse on: the table cannot wrap a path and would push the pictures out of sight.
                "file": file.relative_to(store.root).as_posix(),
                "bytes": file.stat().st_size,
                **{
                    name: dg.MetadataValue.md(markdown_picture(name, picture))
                    for name, picture in main_pictures(found).items()
                },
            },
            data_version=dg.DataVersion(found.version),
        )

    return report
