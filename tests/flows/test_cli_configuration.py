"""`perhop init`, `config`, `policy`: making an installation, and finding what is wrong with one."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.commands import SECRET, make_installation, perhop


def test_init_prints_the_password_alone_and_the_next_command(tmp_path: Path) -> None:
    """stdout is the password and nothing else; what was made and what comes next is talk."""
    ran = perhop("init", "new", "--upstream", "http://127.0.0.1:9001/notes/mcp", folder=tmp_path)
    assert ran.code == 0
    assert len(ran.out.split()) == 1
    assert "made perhop.yaml" in ran.err
    assert "Next: perhop serve --config new/perhop.yaml" in ran.err
    assert perhop("config", "check", folder=tmp_path / "new").out == "ok\n"
    assert [each["name"] for each in perhop("resource", "list", "--json", folder=tmp_path / "new").json] == ["notes"]


def test_init_again_makes_what_is_missing(tmp_path: Path) -> None:
    """A second run keeps everything; a third one brings back what was lost and can be made anew."""
    made = perhop("init", "--json", folder=tmp_path).json
    assert made["admin_password"]
    again = perhop("init", "--json", folder=tmp_path).json
    assert (again["made"], again["admin_password"]) == ([], None)
    (tmp_path / "policies/start.cedar").unlink()
    assert perhop("init", "--json", folder=tmp_path).json["made"] == ["policies/start.cedar"]


def test_init_takes_over_a_key(tmp_path: Path) -> None:
    """With `--signing-key` the key signs from the start; a file that is no key is refused."""
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "own.pem"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    assert perhop("init", "a", "--signing-key", "own.pem", folder=tmp_path).code == 0
    (key,) = perhop("key", "list", "--json", folder=tmp_path / "a").json
    assert key["state"] == "active"
    (tmp_path / "no.pem").write_text("no key", encoding="utf-8")
    assert perhop("init", "b", "--signing-key", "no.pem", folder=tmp_path).code == 1


def test_config_check_tells_every_problem_with_its_line(folder: Path) -> None:
    """One line a problem: where, what, and what to do; exit code 7."""
    text = (folder / "perhop.yaml").read_text(encoding="utf-8")
    (folder / "perhop.yaml").write_text(text.replace("    tenant:", "    tennant:") + "colour: red\n", encoding="utf-8")
    ran = perhop("config", "check", folder=folder)
    assert ran.code == 7
    lines = ran.out.splitlines()
    assert lines == [
        "perhop.yaml:10: unknown key `tennant` in `resources.calendar`; did you mean `tenant`?",
        f"perhop.yaml:{len(text.splitlines()) + 1}: unknown key `colour`",
    ]
    found = perhop("config", "check", "--json", folder=folder)
    assert (found.code, found.json["ok"], len(found.json["problems"])) == (7, False, 2)
    assert found.json["problems"][0] == {
        "place": "perhop.yaml:10",
        "problem": "unknown key `tennant` in `resources.calendar`",
        "advice": "did you mean `tenant`?",
    }
    assert perhop("client", "list", folder=folder).code == 2


def test_config_check_tells_what_would_keep_a_server_from_starting(folder: Path) -> None:
    """A folder of policies that is not there is a problem with its line, beside those of the file itself."""
    text = (folder / "perhop.yaml").read_text(encoding="utf-8")
    (folder / "perhop.yaml").write_text("policies: elsewhere/\n" + text, encoding="utf-8")
    ran = perhop("config", "check", folder=folder)
    advice = "make it, or name the one that holds the policies"
    said = f"perhop.yaml:1: `policies` is `elsewhere/`, which is not a folder; {advice}\n"
    assert (ran.code, ran.out) == (7, said)
    assert perhop("serve", folder=folder).code != 0
    (folder / "elsewhere").mkdir()
    assert perhop("config", "check", folder=folder).code == 0


def test_a_client_that_has_expired_is_warned_of(folder: Path) -> None:
    """`config check` and `apply` name its place and its last day, and go on: the file is good."""
    lines = (folder / "perhop.yaml").read_text(encoding="utf-8").splitlines()
    line = next(number for number, each in enumerate(lines, 1) if "2020-12-31" in each)
    said = f"perhop.yaml:{line}: `clients.idler` expired on 2020-12-31: it gets no token"
    checked = perhop("config", "check", folder=folder)
    assert (checked.code, checked.out, checked.err) == (0, "ok\n", f"warning: {said}\n")
    assert perhop("config", "check", "--json", folder=folder).json["warnings"] == [said]
    for words in (("apply", "--dry-run"), ("apply",)):
        applied = perhop(*words, folder=folder)
        assert applied.code == 0
        assert applied.err.count("warning: ") == 1
        assert f"perhop.yaml:{line}: `clients.idler` expired on 2020-12-31" in applied.err
    text = "\n".join(lines).replace("2020-12-31", "2099-12-31")
    (folder / "perhop.yaml").write_text(text, encoding="utf-8")
    assert "warning" not in perhop("config", "check", folder=folder).err


def test_config_check_of_what_is_no_yaml(folder: Path) -> None:
    """A file that cannot be read as YAML is a problem of its own, with its line."""
    (folder / "perhop.yaml").write_text("issuer: [\n", encoding="utf-8")
    ran = perhop("config", "check", "--json", folder=folder)
    assert (ran.code, ran.json["ok"]) == (7, False)
    assert "perhop.yaml:2" in ran.json["problems"][0]["problem"]


def test_config_show_redacts(folder: Path) -> None:
    """The configuration in force shows defaults and no secret, as YAML that reads back, or as JSON."""
    shown = perhop("config", "show", folder=folder)
    as_json = perhop("config", "show", "--json", folder=folder)
    assert SECRET not in shown.out + as_json.out
    assert as_json.json["resources"]["calendar"]["risk"] == "medium"
    assert "risk: medium" in shown.out


def test_config_schema_is_a_json_schema(tmp_path: Path) -> None:
    """It needs no configuration."""
    schema = perhop("config", "schema", folder=tmp_path).json
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert "resources" in schema["properties"]


def test_policy_check_names_file_and_line(folder: Path) -> None:
    """A policy that does not parse is found with its place; exit code 7."""
    assert perhop("policy", "check", folder=folder).out == "ok\n"
    (folder / "policies/bad.cedar").write_text('@id("bad") permit (principal,', encoding="utf-8")
    ran = perhop("policy", "check", folder=folder)
    assert ran.code == 7
    assert "bad.cedar:1" in ran.out
    found = perhop("policy", "check", "--json", folder=folder).json
    assert (found["ok"], found["findings"][0]["file"]) == (False, "bad.cedar")


def test_policy_explain_says_who_decides(folder: Path) -> None:
    """Exit code 0 and the permit's name, or 3 and what is missing."""
    asked = ("policy", "explain", "--agent", "planner", "--resource", "calendar")
    permitted = perhop(*asked, "--tool", "list_events", folder=folder)
    assert (permitted.code, "start-what-scopes-list" in permitted.out) == (0, True)
    beyond = perhop(*asked, "--tool", "create_event", "--scope", "calendar:read", "--json", folder=folder)
    assert (beyond.code, beyond.json["allowed"], beyond.json["fired"]) == (3, False, [])
    assert "needs the scope `calendar:write`" in beyond.json["summary"]
    (folder / "policies/own.cedar").write_text('@id("never") forbid (principal, action, resource);', encoding="utf-8")
    denied = perhop(*asked, "--tool", "list_events", folder=folder)
    assert (denied.code, "forbid `never` at own.cedar:1" in denied.out) == (3, True)


def test_policy_explain_takes_a_task(folder: Path) -> None:
    """A purpose alone permits nothing; approved by a person it does, and without one `--approved` is a usage error."""
    (folder / "policies/start.cedar").write_text(
        '@id("trips") permit (principal, action, resource)'
        ' when { context has task && context.task has purpose && context.task.purpose like "*trip*" };',
        encoding="utf-8",
    )
    asked = ("policy", "explain", "--agent", "planner", "--resource", "calendar", "--tool", "list_events")
    assert perhop(*asked, folder=folder).code == 3
    assert perhop(*asked, "--purpose", "plan a trip", folder=folder).code == 3
    assert perhop(*asked, "--purpose", "plan a trip", "--approved", folder=folder).code == 0
    assert perhop(*asked, "--purpose", "read mail", "--approved", folder=folder).code == 3
    assert perhop(*asked, "--approved", folder=folder).code == 2


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--agent", "planner", "--resource", "nosuch", "--tool", "x"), 6),
        (("--agent", "nobody", "--resource", "calendar", "--tool", "x"), 6),
        (("--agent", "planner", "--resource", "calendar"), 2),
        (("--agent", "planner", "--resource", "calendar", "--tool", "x", "--prompt", "y"), 2),
        (("--agent", "planner", "--resource", "calendar", "--action", "fly"), 2),
        (("--agent", "planner", "--resource", "calendar", "--tool", "x", "--arguments", "[]"), 2),
    ],
)
def test_policy_explain_wants_one_question(words: tuple[str, ...], code: int, folder: Path) -> None:
    """What is not defined is not found; what is not one question is a usage error."""
    assert perhop("policy", "explain", *words, folder=folder).code == code


def test_an_installation_by_hand_is_like_that_of_init(tmp_path: Path) -> None:
    """A configuration that was written first is kept, and the rest is made around it."""
    make_installation(tmp_path / "own")
    assert json.loads(perhop("config", "check", "--json", folder=tmp_path / "own").out)["ok"]
