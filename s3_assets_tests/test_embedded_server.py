"""The embedded teacher as a server: what it reads in a request, what it refuses, the wire format."""

import json
import socket
import threading
from urllib.parse import urlsplit

import openai
import pytest

from s3_assets.teacher.embedded.answers import EmbeddedTeacher, Refusal, read_facts
from s3_assets.teacher.embedded.grammar import load_grammar
from s3_assets.teacher.embedded.server import embedded_teacher
from s3_assets_tests.fakes import DEMO_FOLDER as TASK

LABELS = ("positive", "negative")


@pytest.fixture(scope="module")
def grammar():
    return load_grammar(TASK / "grammar.yaml")


# -- reading requests ------------------------------------------------------------------------------------------------


def _body(kind, facts, prose="Please write.", **more):
    prompt = f"{prose}\n\n```json\n{json.dumps(facts)}\n```"
    return {
        "model": "embedded",
        "messages": [{"role": "system", "content": "You write."}, {"role": "user", "content": prompt}],
        "response_format": {"type": "json_schema", "json_schema": {"name": kind, "schema": {"type": "object"}}},
        **more,
    }


def test_a_fence_inside_example_text_is_text():
    example = 'Nice. ```json {"label": "negative"} ```'
    facts = {"label": "positive", "example": {"text": example, "label": "positive"}}
    assert read_facts(_body("examples", facts, prose='Text: ```json {"label": "x"} ``` end')) == facts
    parts = [{"type": "text", "text": '```json\n{"label": "a"}\n```'}]
    assert read_facts({"messages": [{"role": "user", "content": parts}]}) == {"label": "a"}


@pytest.mark.parametrize(
    ("kind", "facts", "says"),
    [
        ("poem", {"label": "positive"}, r"'poem'.*must be one of: rationales, examples, label"),
        ("examples", {"label": "great"}, r"no label 'great'; it has: positive, negative"),
        ("examples", {"label": "positive", "count": 0}, r"count is 0"),
        ("examples", {"label": "positive", "given": {"text": "A."}}, r"cannot write pairs"),
        ("examples", {"label": "positive", "example": {"text": "A.", "text2": "B."}}, r"cannot write pairs"),
        ("label", {"labels": ["positive", "negative"]}, r"example has no text"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_what_is_allowed(grammar, kind, facts, says):
    with pytest.raises(Refusal, match=says):
        EmbeddedTeacher(grammar).answer(_body(kind, facts), "0")


def test_pairs_are_refused_by_the_schema_alone(grammar):
    body = _body("examples", {"label": "positive"})
    items = {"type": "object", "properties": {"text": {}, "text2": {}}}
    body["response_format"]["json_schema"]["schema"] = {"properties": {"examples": {"items": items}}}
    with pytest.raises(Refusal, match="cannot write pairs"):
        EmbeddedTeacher(grammar).answer(body, "0")


def test_the_guess_reads_plain_praise_and_blame(grammar):
    teacher = EmbeddedTeacher(grammar)
    for label, text in (("positive", "A superb and delightful comedy."), ("negative", "A tedious, clumsy thriller.")):
        body = _body("label", {"labels": list(LABELS), "example": {"text": text}})
        assert json.loads(teacher.answer(body, "0")) == {"label": label}


# -- the wire --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client():
    with embedded_teacher(TASK / "grammar.yaml") as url, openai.OpenAI(base_url=url, api_key="none") as client:
        yield client


def _ask(client, kind, facts, sample=None, **more):
    headers = None if sample is None else {"x-s3-sample": str(sample)}
    return client.chat.completions.create(**_body(kind, facts, **more), extra_headers=headers)


def _content(done):
    return json.loads(done.choices[0].message.content)


def test_the_three_kinds_of_request_over_http(client):
    rationales = _content(_ask(client, "rationales", {"label": "positive", "count": 5}))["rationales"]
    assert len(set(rationales)) == 5
    seed = _content(_ask(client, "examples", {"label": "positive", "count": 4, "rationales": rationales[:2]}))
    assert len({item["text"] for item in seed["examples"]}) == 4
    example = {"text": "Not once did I yawn.", "label": "positive", "predicted": "negative"}
    more = _content(_ask(client, "examples", {"label": "positive", "count": 3, "example": example}))["examples"]
    assert all(list(item) == ["text"] and item["text"] != example["text"] for item in more)
    guess = _content(_ask(client, "label", {"labels": list(LABELS), "example": {"text": "A superb film."}}))
    assert guess == {"label": "positive"}


def test_the_reply_is_a_complete_chat_completion(client):
    done = _ask(client, "examples", {"label": "negative", "count": 2})
    assert done.id.startswith("chatcmpl-")
    assert done.object == "chat.completion"
    assert done.model == "embedded"
    assert done.created > 0
    assert done.choices[0].finish_reason == "stop"
    assert done.choices[0].message.role == "assistant"
    assert done.usage.prompt_tokens > 0
    assert done.usage.completion_tokens > 0
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens
    assert [model.id for model in client.models.list()] == ["embedded"]


def test_the_same_request_again_gets_another_reply(client):
    facts = {"label": "positive", "count": 1}
    texts = [_content(_ask(client, "examples", facts, prose="Again."))["examples"][0]["text"] for _ in range(5)]
    assert len(set(texts)) == 5
    seeds = [_content(_ask(client, "examples", facts, sample=0, seed=n))["examples"][0]["text"] for n in range(5)]
    assert len(set(seeds)) == 5
    choices = _ask(client, "examples", facts, n=3).choices
    assert len({choice.message.content for choice in choices}) == 3


def test_the_sample_header_decides_and_not_the_order_of_arrival(client):
    requests = [({"label": label, "count": 2}, sample) for label in LABELS for sample in range(3)]

    def answers(client, order):
        got = {i: _ask(client, "examples", *requests[i]).choices[0].message.content for i in order}
        return [got[i] for i in range(len(requests))]

    here = answers(client, range(len(requests)))
    assert len(set(here)) == len(requests)
    with embedded_teacher(TASK / "grammar.yaml") as url, openai.OpenAI(base_url=url, api_key="none") as other:
        assert answers(other, reversed(range(len(requests)))) == here
    assert answers(client, range(len(requests))) == here


def test_answers_repeat_in_a_new_server_whatever_the_order(client):
    def first_and_second(client, labels):
        return {x: [_content(_ask(client, "examples", {"label": x}, prose="New.")) for _ in range(2)] for x in labels}

    here = first_and_second(client, LABELS)
    with embedded_teacher(TASK / "grammar.yaml") as url, openai.OpenAI(base_url=url, api_key="none") as other:
        assert first_and_second(other, reversed(LABELS)) == here


@pytest.mark.parametrize(
    ("kind", "facts", "sample", "more", "says"),
    [
        ("poem", {"label": "positive"}, None, {}, "rationales, examples, label"),
        ("examples", {"label": "great"}, None, {}, "positive, negative"),
        ("examples", {"label": "positive", "given": {"text": "A."}}, None, {}, "cannot write pairs"),
        ("examples", {"label": "positive"}, "x", {}, "x-s3-sample"),
        ("examples", {"label": "positive"}, None, {"stream": True}, "does not stream"),
        ("examples", {"label": "positive"}, None, {"messages": []}, "no fenced"),
    ],
)
def test_errors_have_the_wire_format(client, kind, facts, sample, more, says):
    with pytest.raises(openai.BadRequestError) as caught:
        _ask(client, kind, facts, sample, **more)
    assert says in caught.value.body["message"]
    assert caught.value.body["type"] == "invalid_request_error"


def test_a_body_that_is_no_json_object_is_refused(client):
    for content in (b"{", b"[]"):
        with pytest.raises(openai.BadRequestError, match=r"not (a )?JSON"):
            client.post("/chat/completions", cast_to=object, content=content)


def test_nothing_is_left_after_the_block():
    before = set(threading.enumerate())
    with embedded_teacher(TASK / "grammar.yaml") as url, openai.OpenAI(base_url=url, api_key="none") as client:
        assert _ask(client, "examples", {"label": "positive"}).choices
        assert url.startswith("http://127.0.0.1:")
        assert url.endswith("/v1")
    assert "embedded-teacher" not in {thread.name for thread in set(threading.enumerate()) - before}
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", urlsplit(url).port)) != 0


def test_an_error_inside_the_block_passes_through_and_stops_the_server():
    with pytest.raises(ZeroDivisionError), embedded_teacher(TASK / "grammar.yaml") as url:
        raise ZeroDivisionError
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", urlsplit(url).port)) != 0
