"""`perhop journal` and `perhop trace`: they read files, and say what the files say."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.commands import clean_environment, perhop
from tests.support.installations import PERHOP


def _issue(folder: Path) -> dict[str, str]:
    result: dict[str, str] = perhop(
        "token", "issue", "--client", "planner", "--resource", "calendar", "--json", folder=folder
    ).json
    return result


def test_verify_needs_no_configuration(folder: Path, tmp_path: Path) -> None:
    """The file and the public key are enough, in a folder that holds nothing else."""
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(folder / "journal.db", bare)
    shutil.copy(folder / "keys/journal.vkey", bare)
    ran = perhop("journal", "verify", "journal.db", "--public-key", "journal.vkey", "--json", folder=bare)
    assert ran.code == 0
    assert set(ran.json) == {"ok", "records", "root", "first_bad"}
    assert (ran.json["ok"], ran.json["first_bad"]) == (True, None)
    assert len(bytes.fromhex(ran.json["root"])) == 32
    assert sorted(each.name for each in bare.iterdir()) == ["journal.db", "journal.vkey"]


def test_verify_names_the_record_of_which_one_byte_was_changed(folder: Path) -> None:
    """Exit code 7, `first_bad` is its number, and the words name it too."""
    _issue(folder)
    octets = (folder / "journal.db").read_bytes()
    body = json.loads(perhop("journal", "prove", "2", folder=folder).out)["record"].encode()
    assert octets.count(body) == 1
    (folder / "journal.db").write_bytes(octets.replace(body, body.replace(b'"time":"2', b'"time":"3')))
    ran = perhop("journal", "verify", "--json", folder=folder)
    assert (ran.code, ran.json["ok"], ran.json["first_bad"]) == (7, False, 2)
    assert "record 2" in perhop("journal", "verify", folder=folder).out


def test_a_journal_shorter_than_a_kept_checkpoint_is_not_ok(folder: Path, tmp_path: Path) -> None:
    """The checkpoint that was kept says how many records there were."""
    short = tmp_path / "short.db"
    shutil.copy(folder / "journal.db", short)
    _issue(folder)
    shutil.copy(folder / "journal.checkpoint", tmp_path / "kept")
    kept = ("--checkpoint", str(tmp_path / "kept"))
    assert perhop("journal", "verify", *kept, folder=folder).code == 0
    ran = perhop("journal", "verify", str(short), *kept, "--json", folder=folder)
    assert (ran.code, ran.json["first_bad"]) == (7, 3)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("verify", "nosuch.db"), 6),
        (("verify", "--checkpoint", "nosuch"), 6),
        (("verify", "--public-key", "nosuch"), 1),
        (("verify", "--public-key", "perhop.yaml"), 1),
        (("prove", "99"), 6),
        (("prove", "--check", "nosuch"), 6),
        (("prove", "--check", "perhop.yaml"), 7),
        (("query", "--event", "call.maybe"), 2),
        (("query", "--since", "yesterday"), 2),
    ],
)
def test_what_cannot_be_answered_says_why(words: tuple[str, ...], code: int, folder: Path) -> None:
    """What is not there is not found, what is there and no journal is a problem, what was mistyped is usage."""
    ran = perhop("journal", *words, folder=folder)
    assert (ran.code, ran.out) == (code, "")
    assert ran.err


def test_a_file_that_is_no_journal_is_not_ok(folder: Path) -> None:
    """It is a problem that was found, like any other of a journal."""
    ran = perhop("journal", "verify", "perhop.yaml", "--json", folder=folder)
    assert (ran.code, ran.json["ok"]) == (7, False)


def test_a_proof_is_checked_with_the_public_key_alone(folder: Path, tmp_path: Path) -> None:
    """The proof gives the record back; changed, it is refused with exit code 7."""
    proof = perhop("journal", "prove", "1", folder=folder).out
    (tmp_path / "proof.json").write_text(proof, encoding="utf-8")
    shutil.copy(folder / "keys/journal.vkey", tmp_path)
    check = ("journal", "prove", "--check", "proof.json", "--public-key", "journal.vkey")
    assert perhop(*check, folder=tmp_path).json["seq"] == 1
    (tmp_path / "proof.json").write_text(proof.replace("init", "inot"), encoding="utf-8")
    assert perhop(*check, folder=tmp_path).code == 7


def test_query_and_tail_print_one_record_a_line(folder: Path) -> None:
    """As JSON the record itself; for people a line with number, time, event and what it is about."""
    issued = _issue(folder)
    (record,) = perhop("journal", "query", "--json", "--jti", issued["jti"], folder=folder).out.splitlines()
    assert json.loads(record)["out"]["jti"] == issued["jti"]
    last = perhop("journal", "tail", "-n", "1", folder=folder).out
    assert last.count("\n") == 1
    assert last.split()[2:] == ["token.issued", "calendar", "by", "planner", "by=operator"]
    assert perhop("journal", "tail", "-n", "0", folder=folder).out == ""
    assert len(perhop("journal", "tail", "--json", folder=folder).out.splitlines()) == 3
    assert perhop("journal", "query", "--client", "nobody", folder=folder).out == ""
    some = perhop("journal", "query", "--since", "2020-01-01", "--until", "2021-01-01", folder=folder)
    assert (some.code, some.out) == (0, "")


def test_tail_follows(folder: Path) -> None:
    """A record that is written while `tail --follow` runs comes out at once, through a pipe too."""
    with subprocess.Popen(
        [PERHOP, "journal", "tail", "-n", "1", "--follow", "--json"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    ) as following:
        assert following.stdout is not None
        assert json.loads(following.stdout.readline())["seq"] == 2
        jti = _issue(folder)["jti"]
        assert json.loads(following.stdout.readline())["out"]["jti"] == jti
        following.send_signal(signal.SIGINT)
        try:
            assert following.wait(timeout=10) == 0
        finally:
            following.kill()
            following.communicate()


def test_trace_shows_the_tree(folder: Path) -> None:
    """By the token's id or its transaction's, as a tree or as `{txn, hops}`; what is unknown is not found."""
    jti = _issue(folder)["jti"]
    found = perhop("trace", jti, "--json", folder=folder).json
    assert set(found) == {"txn", "hops"}
    assert [hop["jti"] for hop in found["hops"]] == [jti]
    assert perhop("trace", found["txn"], "--json", folder=folder).json == found
    tree = perhop("trace", jti, folder=folder).out
    assert f"transaction {found['txn']}" in tree
    assert jti in tree
    assert perhop("trace", "nosuch", folder=folder).code == 6


LOOKING_UP = (("trace",), ("incident",), ("blast-radius", "--token"))


@pytest.mark.parametrize("command", LOOKING_UP)
def test_a_token_is_looked_up_as_it_was_found(command: tuple[str, ...], folder: Path) -> None:
    """Whole or on stdin it is the same as by its id, even with another signature; and it is printed nowhere."""
    issued = _issue(folder)
    token = issued["access_token"]
    by_id = perhop(*command, issued["jti"], folder=folder)
    forged = token.rpartition(".")[0] + "." + "A" * 86
    others = [
        perhop(*command, token, folder=folder),
        perhop(*command, "-", folder=folder, stdin=f"{token}\n"),
        perhop(*command, forged, folder=folder),
    ]
    assert [(each.code, each.out) for each in others] == [(0, by_id.out)] * 3
    assert token.split(".")[1] not in "".join(each.out + each.err for each in others)


@pytest.mark.parametrize("command", [*LOOKING_UP, ("revoke", "--token")])
def test_what_may_be_a_token_is_not_repeated(command: tuple[str, ...], folder: Path) -> None:
    """Of a token with a part missing, or with something before it, no more is printed than twelve characters."""
    token = _issue(folder)["access_token"]
    for pasted in (token[: token.rindex(".")], f"Bearer {token}", token[1:], f"{token}.x"):
        ran = perhop(*command, pasted, folder=folder)
        assert ran.code == (6 if command[0] != "revoke" else 2 if pasted.count(".") != 2 else 3)
        assert pasted[:13] not in ran.out + ran.err


def test_an_unknown_token_comes_with_a_remedy(folder: Path) -> None:
    """`trace` says where an id is found, as the other two do."""
    for command in LOOKING_UP:
        assert "`perhop token inspect` shows the `jti`" in perhop(*command, "nosuch", folder=folder).err


def test_an_id_may_begin_with_a_dash(folder: Path) -> None:
    """base64url has dashes: such an id is an id, and no option."""
    ran = perhop("trace", "-8_3HRxgT1Cs84W-YDSv8w", "--json", folder=folder)
    assert ran.code == 6
    assert "-8_3HRxgT1Cs84W-YDSv8w" in ran.err
    assert perhop("revoke", "--token", "-8_3HRxgT1Cs84W-YDSv8w", folder=folder).code == 0
