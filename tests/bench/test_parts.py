"""The arithmetic of the benchmarks of the parts, and the loads that they need."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import parse_qs

import pytest

from bench.chained import Chain, chained_loop
from bench.load import Ask, LoadFailed, rendered
from bench.scenarios.decisions import CONDITIONS, policies_about
from bench.scenarios.growth import kilobytes_each, streams_within
from bench.scenarios.guard import own_part
from bench.scenarios.journal import APPENDERS, QUESTIONS
from perhop.policy.argument_classes import ArgumentClasses
from perhop.policy.policy_set import parse_policies


def test_bodies_are_variants() -> None:
    """Each body is a request of its own, with its own length and the one authorization."""
    ask = Ask(url="http://127.0.0.1:1/token", body=b"", values=["Basic x"], bodies=[b"a=1", b"a=1234"])
    first, second = rendered(ask)
    assert first.endswith(b"\r\n\r\na=1")
    assert b"content-length: 3\r\n" in first
    assert b"content-length: 6\r\n" in second
    assert all(b"authorization: Basic x\r\n" in each for each in (first, second))


def test_streams_leave_descriptors_for_the_gateway() -> None:
    """Two descriptors a stream, and some besides; never more than was wanted."""
    assert streams_within(10_000, 65_536) == 10_000
    assert streams_within(10_000, 20_000) == 9_800
    assert 2 * streams_within(10_000, 1_024) < 1_024


def test_kilobytes_are_of_one() -> None:
    """Bytes between, by the number, in KB of 1024 bytes."""
    assert kilobytes_each(1_000_000, 1_000_000 + 500 * 40 * 1024, 500) == 40


def test_the_own_part_is_what_is_added() -> None:
    """Also where noise makes it less than nothing."""
    assert own_part(120.0, 100.0) == 20.0
    assert own_part(99.0, 100.0) == -1.0


@pytest.mark.parametrize("condition", CONDITIONS)
def test_policies_read_what_is_said(condition: str) -> None:
    """As many policies as asked for; what they read of a call is kept by class, asked anew each time, or nothing."""
    text = policies_about(3, count=10, condition=condition)
    found = parse_policies({"a.cedar": text}).policies
    assert len(found) == 10
    arguments = {"amount": 5, "fee": 7}
    classes = ArgumentClasses([each.tree for each in found])
    assert any(each.arguments for each in found) is (condition != "reads nothing")
    assert (classes.key_of(arguments) is None) is (condition == "adds")
    assert ("context" in text) is (condition != "reads nothing")


def test_subjects_of_the_journal_have_the_kind_first() -> None:
    """Targets find `trace` and `blast-radius` by what stands before the comma."""
    assert {each.partition(",")[0] for each in QUESTIONS} == {"trace", "blast-radius"}
    assert len({each.rpartition(" ")[2] for each in APPENDERS}) == len(APPENDERS)


async def test_a_family_is_followed() -> None:
    """Every request of a connection brings the token that the answer before it gave."""
    seen: list[str] = []
    async with await asyncio.start_server(lambda *pair: _answer(*pair, seen), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        chain = Chain(url=f"http://127.0.0.1:{port}/token", form={"grant_type": "refresh_token"}, first=["a0", "b0"])
        found, there = await asyncio.to_thread(chained_loop, chain, 1, seconds=0.05)
    for name in "ab":
        assert [each for each in seen if each[0] == name] == [f"{name}{n}" for n in range(int(_last(there, name)[1:]))]
    assert found.requests == len(seen) >= 2


async def test_a_refusal_ends_the_run() -> None:
    """An answer that is no success is no figure."""
    async with await asyncio.start_server(lambda *pair: _answer(*pair, None), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        chain = Chain(url=f"http://127.0.0.1:{port}/token", form={}, first=["a0"])
        with pytest.raises(LoadFailed, match="answered 400"):
            await asyncio.to_thread(chained_loop, chain, 1, seconds=0.05)


def _last(chain: Chain, name: str) -> str:
    return next(each for each in chain.first if each[0] == name)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: list[str] | None) -> None:
    """A token endpoint that counts: `a0` is followed by `a1`. Without `seen`, one that refuses."""
    try:
        while head := (await reader.readuntil(b"\r\n\r\n")).decode().lower():
            length = int(head.partition("content-length:")[2].partition("\r\n")[0])
            token = parse_qs((await reader.readexactly(length)).decode())["refresh_token"][0]
            body = json.dumps({"refresh_token": f"{token[0]}{int(token[1:]) + 1}"}).encode()
            status = "200 OK" if seen is not None else "400 Bad Request"
            if seen is not None:
                seen.append(token)
            writer.write(f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
    except asyncio.IncompleteReadError:
        writer.close()
