"""How fast this product asks, with its ledger on: one session, as a step of a round opens it.

    .venv/bin/python benchmarks/mock_endpoint.py --latency 0.2
    .venv/bin/python benchmarks/teacher_s3.py --url http://127.0.0.1:PORT/v1 --working-dir scratch

Prints one line of JSON, with the time from opening the ledger to closing it. In a working directory that has answers it
asks only for what the ledger lacks; the options that change a request let ``teacher.py`` see what is asked anew.

Belongs here: the session as the loop uses it. Does not belong here: the requests (``teacher_requests.py``), comparing
(``teacher.py``).
"""

from collections.abc import Iterator
from pathlib import Path

import teacher_requests

from s3_assets.generation.answers import read_answer
from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.tasks.load import Task
from s3_assets.tasks.spec import TaskSpec
from s3_assets.teacher.answer import Answer
from s3_assets.teacher.request import TeacherRequest
from s3_assets.teacher.session import teacher_session

ROWS = 5


def main() -> None:
    parser = teacher_requests.parser(__doc__)
    parser.add_argument("--edited", type=int, default=None, help="number of a request whose text is another one")
    parser.add_argument("--system", default="", help="added to the system message")
    parser.add_argument("--temperature", type=float, default=0.9)
    parser.add_argument("--model", default=teacher_requests.MODEL)
    parser.add_argument("--schema-title", default=None, help="a title for the schema")
    options = parser.parse_args()
    folder = Path(options.working_dir).resolve()
    spec = TaskSpec.model_validate(
        {
            "name": "benchmark",
            "labels": {"negative": "would not recommend the film", "positive": "would"},
            "gold": "gold.csv",
            "teacher": {
                "model": options.model,
                "base_url": options.url,
                "temperature": options.temperature,
                "concurrency": options.concurrency,
            },
            "budget": {"calls": None},
        }
    )
    schema = dict(teacher_requests.SCHEMA)
    if options.schema_title is not None:
        schema["title"] = options.schema_title

    def requests() -> Iterator[TeacherRequest]:
        for number in range(options.calls):
            system, user = teacher_requests.messages(number)
            system["content"] += options.system
            if number == options.edited:
                user["content"] += " (edited)"
            yield TeacherRequest("examples", (system, user), schema, 0, "negative", "negative", rows_requested=ROWS)

    answers = 0

    def take(answer: Answer) -> None:
        nonlocal answers
        answers += answer.content is not None and len(answer.content) == ROWS

    task, key = Task(spec, folder), RoundKey("benchmark", "default", 0, 0)
    with (
        teacher_requests.Stopwatch() as asking,
        teacher_session(task, Warehouse(folder / "warehouse"), key, "seed_set") as session,
    ):
        session.stream(requests(), read_answer, take)
    teacher_requests.print_result(options.calls, answers, asking)


if __name__ == "__main__":
    main()
