"""A causal language model as the teacher, in this process: ``teacher.backend: transformers``.

Belongs here: gathering concurrent requests into batches, the thread that answers them. Does not belong here: loading
the model and writing (``causal_lm.py``), repeats and budgets (``attempts.py``), teachers behind a server
(``client.py``).
"""

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field

from jinja2 import TemplateError

from s3_assets.store.identity import digest
from s3_assets.tasks.load import Task
from s3_assets.teacher.causal_lm import CausalLM, shortened
from s3_assets.teacher.reply import NotAccepted, Reply, TeacherUnavailable
from s3_assets.teacher.request import TeacherRequest

log = logging.getLogger(__name__)

# A batch starts when it is full, or when no further request came for so long. Writing takes seconds.
GATHERING_SECONDS = 0.05

THREAD_NAME = "s3-assets-teacher"


@dataclass
class _Question:
    """One attempt that waits for its answer. ``prompt`` are its tokens, once they are known."""

    request: TeacherRequest
    body: str
    attempt: int
    prompt: list[int] = field(default_factory=list)
    answer: "Future[Reply]" = field(default_factory=Future)

    def settle(self, outcome: Reply | Exception) -> None:
        """Hand the outcome to whoever asked, unless they have one or wait no more."""
        with contextlib.suppress(InvalidStateError):
            if isinstance(outcome, Reply):
                self.answer.set_result(outcome)
            else:
                self.answer.set_exception(outcome)


class LocalModel:
    """A ``Backend`` that writes answers itself: up to ``teacher.concurrency`` at once, in a thread of its own.

    The model is loaded when it is first asked. With sampling, an answer depends on what else is in its batch; one that
    is asked for alone is the same every time. ``completion_tokens`` include the token that ends the answer.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._most = task.spec.teacher.concurrency
        self._queue: queue.SimpleQueue[_Question | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        # Held while the queue or how it ended changes: nothing is queued that nobody would settle.
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ended: TeacherUnavailable | None = None

    async def ask(self, request: TeacherRequest, body: str, attempt: int) -> Reply:
        """One attempt; see ``Backend``. ``NotAccepted`` for a prompt too long for the model or for the memory."""
        question = _Question(request, body, attempt)
        with self._lock:
            if self._ended is not None:
                raise self._ended
            if self._thread is None:
                # A daemon, so that a process which never closes the model can end.
                self._thread = threading.Thread(target=self._work, name=THREAD_NAME, daemon=True)
                self._thread.start()
            self._queue.put(question)
        return await asyncio.wrap_future(question.answer)

    async def close(self) -> None:
        """End the thread at its next token and free the model. Who still waits gets ``TeacherUnavailable``."""
        self._closing.set()
        with self._lock:
            self._ended = self._ended or _closed()
            self._queue.put(None)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        batch: list[_Question] = []
        ended = _closed()
        try:
            self._serve(batch)
        except TeacherUnavailable as error:
            ended = error
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
            spec = self._task.spec.teacher
            hint = "; check the keys of teacher.extra, which are passed to generate" if spec.extra else ""
            ended = TeacherUnavailable(f"the teacher's model {spec.model!r} failed: {shortened(error)}{hint}")
            ended.__cause__ = error
        finally:
            with self._lock:
                self._ended = self._ended or ended
                while not self._queue.empty():
                    question = self._queue.get()
                    if question is not None:
                        batch.append(question)
            for question in batch:
                question.settle(ended)
        _free_memory()

    def _serve(self, batch: list[_Question]) -> None:
        """Answer batches until closed. ``batch`` holds what is being answered."""
        model = CausalLM(self._task)
        while self._gather(batch):
            self._answer(model, batch)
            # Left are those that closing cut short.
            batch[:] = [question for question in batch if not question.answer.done()]

    def _gather(self, batch: list[_Question]) -> bool:
        """Wait for a batch; False when closed."""
        while len(batch) < self._most:
            try:
                question = self._queue.get(timeout=GATHERING_SECONDS if batch else None)
            except queue.Empty:
                break
            if question is None:
                return False
            batch.append(question)
        return not self._closing.is_set()

    def _answer(self, model: "CausalLM", batch: Sequence[_Question]) -> None:
        """Settle every question of ``batch``; where the memory is too small, in smaller batches from now on."""
        import torch

        pieces = [[question for question in batch if _prepared(question, model)]]
        largest, short = 1, False
        while pieces:
            piece = pieces.pop()
            try:
                self._write(model, piece)
                largest = max(largest, len(piece))
                continue
            except torch.OutOfMemoryError as error:
                short, cause = True, shortened(error)
            # Outside the handler: its traceback holds tensors.
            _free_memory()
            half = len(piece) // 2
            if half:
                pieces += [piece[half:], piece[:half]]
            else:
                tokens = len(piece[0].prompt)
                piece[0].settle(NotAccepted(f"no memory for this prompt of {tokens} tokens, even alone: {cause}"))
        if short and largest < self._most:
            log.warning("the teacher's model has no memory for %d answers at once; %d from now on", self._most, largest)
            self._most = largest

    def _write(self, model: "CausalLM", piece: Sequence[_Question]) -> None:
        def halt() -> bool:
            return self._closing.is_set() or all(question.answer.done() for question in piece)

        if not piece or halt():
            return
        seed = int(digest([[question.body, question.request.sample, question.attempt] for question in piece], 8), 16)
        replies = model.write([question.prompt for question in piece], seed, halt)
        if not halt():
            for question, reply in zip(piece, replies, strict=True):
                question.settle(reply)


def _prepared(question: _Question, model: CausalLM) -> bool:
    """Whether the question can be asked; one that cannot is settled."""
    if question.answer.done():
        return False
    try:
        question.prompt = model.prompt(question.request)
    except NotAccepted as error:
        question.settle(error)
    except TemplateError as error:
        question.settle(NotAccepted(f"the model's chat template does not accept these messages: {error}"))
    return not question.answer.done()


def _free_memory() -> None:
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _closed() -> TeacherUnavailable:
    return TeacherUnavailable("the teacher's model was closed")
