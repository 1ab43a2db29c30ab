"""Facts about openai, its transport, genai-prices and jiter that the teacher's client rests on."""

import asyncio
import json
from importlib.metadata import version

import aiohttp
import httpx2
import jiter
import openai
import pytest

from s3_assets_tests.fakes import obliging, scripted_teacher

OPENAI = f"in openai {version('openai')}"


def connected(url: str = "https://h.example/v1/") -> openai.AsyncOpenAI:
    http = openai.DefaultAioHttpClient(timeout=3, verify=False)
    return openai.AsyncOpenAI(api_key="key", base_url=url, max_retries=0, http_client=http)


def test_credentials_and_headers_are_public():
    """docs/adr/0008: what requests are sent with."""
    client = connected()
    assert client.auth_headers == {"Authorization": "Bearer key"}, OPENAI
    assert client.default_headers["Content-Type"] == "application/json"
    # Headers that are left out are values of another type.
    assert not isinstance(client.default_headers.get("OpenAI-Organization"), str)
    assert client.base_url.path == "/v1/"
    asyncio.run(client.close())


def test_an_api_version_in_the_url_is_kept():
    """Azure's endpoints may have one."""
    url = connected("https://h.openai.azure.com/openai/v1/?api-version=1").base_url
    target = url.copy_with(path=f"{url.path.rstrip('/')}/chat/completions")
    assert str(target) == "https://h.openai.azure.com/openai/v1/chat/completions?api-version=1"


def test_a_connection_never_made_is_a_connect_timeout_whose_cause_tells():
    """teacher/client.py: what was never sent is not billed."""

    async def ask():
        client = openai.DefaultAioHttpClient(timeout=3, verify=False)
        try:
            await client.post("http://127.0.0.1:9/v1", content=b"{}")
        finally:
            await client.aclose()

    with pytest.raises((httpx2.ConnectTimeout, httpx2.ConnectError)) as caught:
        asyncio.run(ask())
    assert isinstance(caught.value.__cause__, aiohttp.ClientConnectorError), OPENAI


def test_the_http_client_takes_bytes_and_gives_bytes():
    async def ask(url: str):
        client = openai.DefaultAioHttpClient(timeout=3, verify=False)
        try:
            body = json.dumps({"messages": [{"content": '```json\n{"label": "a", "count": 1}\n```'}], "x": "é"})
            schema = {"properties": {"examples": {"items": {"required": ["text"]}}}}
            asked = json.loads(body) | {"response_format": {"json_schema": {"name": "examples", "schema": schema}}}
            return await client.post(f"{url}/chat/completions", content=json.dumps(asked).encode())
        finally:
            await client.aclose()

    with scripted_teacher(obliging) as teacher:
        response = asyncio.run(ask(teacher.url))
    assert response.status_code == 200
    assert json.loads(response.content)["choices"][0]["message"]["content"]


def test_prices_are_found_by_endpoint_and_model():
    """docs/adr/0009: an unknown endpoint or model is an error, not a price of 0."""
    from genai_prices import Usage, calc_price

    usage = Usage(input_tokens=1_000_000, output_tokens=0, cache_read_tokens=500_000)
    priced = calc_price(usage, "gpt-4o-mini", provider_api_url="https://api.openai.com/v1")
    assert float(priced.total_price) == pytest.approx(0.5 * 0.15 + 0.5 * 0.075)
    for model, url in (("no-such-model", "https://api.openai.com/v1"), ("gpt-4o-mini", "http://10.0.0.1/v1")):
        with pytest.raises(LookupError):
            calc_price(usage, model, provider_api_url=url)


def test_jiter_reads_what_is_whole_of_json_that_broke_off():
    """generation/answers.py: unfinished texts are left out, unfinished objects are not."""
    torn = b'{"examples": [{"text": "a"}, {"text": "b", "text2": "and th'
    assert jiter.from_json(torn, partial_mode=True) == {"examples": [{"text": "a"}, {"text": "b"}]}
    with pytest.raises(ValueError, match="expected"):
        jiter.from_json(b'{"examples": [nonsense', partial_mode=True)
