"""`entrepot apply` and `entrepot policy`."""

from __future__ import annotations

import json

import pytest

from tests.cli.caller import Caller

ACCESS = """
resources: [applied, "applied/*"]
grants:
  - {subject: user:hugo, resource: applied, role: writer, tags: "dev-*"}
  - {subject: everyone, resource: "applied/*", actions: [tag.delete], effect: deny}
"""


@pytest.fixture
def file(admin: Caller) -> str:
    """A file of grants about a namespace and a user that are there."""
    if "hugo" not in [user["name"] for user in admin.ask("user", "list")]:
        admin.run("user", "add", "hugo", "--generate")
        admin.run("namespace", "create", "applied")
    (admin.home / "access.yaml").write_text(ACCESS)
    return "access.yaml"


def test_a_file_is_planned_and_applied(admin: Caller, file: str) -> None:
    """The difference first, then all of it; nobody is asked where nobody can answer."""
    planned = admin.run("apply", "-f", file, "--plan")
    assert planned.splitlines() == [
        "+ user:hugo has writer on applied tags dev-*",
        "+ everyone may not tag.delete on applied/*",
        "2 to add, 0 to take away, 0 as they are",
    ]
    assert "give --yes" in admin.call("apply", "-f", file).stderr
    assert admin.ask("grant", "list", "applied") == []
    assert admin.run("apply", "-f", file, "--yes").splitlines()[-1] == "applied"
    again = admin.ask("apply", "-f", file, "--yes")
    assert (again["add"], again["kept"], again["applied"]) == ([], 2, False)
    document = admin.run("policy", "applied/*")
    assert json.loads(document)["Statement"][0]["Action"] == ["entrepot:tag.delete"]
    (admin.home / "policy.json").write_text(document)
    assert admin.run("apply", "-f", "policy.json", "--resource", "applied/*", "--plan").startswith(
        "0 to add, 0 to take"
    )
    emptied = "resources: [applied, 'applied/*']\n"
    removed = admin.run("apply", "-f", "-", "--yes", stdin=emptied)
    assert "- user:hugo has writer on applied tags dev-*" in removed


def test_plans_are_planned_and_applied(admin: Caller, file: str) -> None:
    """Beside grants or alone, with the difference first; what was exported changes nothing."""
    book = "plans:\n  - {name: free, pulls: 9, window_seconds: 60, anonymous: true}\nplan_owners: {hugo: free}\n"
    (admin.home / "plans.yaml").write_text(book)
    told = ["+ plan free: 9 pulls in 60 s, anonymous", "+ hugo has the plan free"]
    planned = admin.run("apply", "-f", "plans.yaml", "--plan").splitlines()
    assert planned == [*told, "plans to change: 1, owners: 1, as they are: 0"]
    (admin.home / "both.yaml").write_text(ACCESS + book)
    both = admin.run("apply", "-f", "both.yaml", "--yes").splitlines()
    assert both[-4:] == [*told, "plans to change: 1, owners: 1, as they are: 0", "applied"]
    assert any("as they are" in line for line in both[:-4])
    (admin.home / "export.yaml").write_text(admin.run("plan", "export"))
    assert admin.ask("apply", "-f", "export.yaml", "--yes")["plan_book"]["kept"] == 2
    assert admin.ask("plan", "export")["plan_owners"] == {"hugo": "free"}
    again = admin.ask("apply", "-f", "both.yaml", "--yes")
    assert (again["plan_book"]["plans"], again["add"], again["applied"]) == ([], [], False)
    (admin.home / "other.yaml").write_text("plans: [{name: team, pulls: null, window_seconds: 60}]\nplan_owners: {}\n")
    other = admin.run("apply", "-f", "other.yaml", "--yes").splitlines()
    assert other[:3] == [
        "- plan free: 9 pulls in 60 s, anonymous",
        "+ plan team: any number of pulls in 60 s",
        "- hugo has the plan free",
    ]
    assert "give --yes" in admin.call("apply", "-f", "plans.yaml").stderr
    emptied = "plans: []\nplan_owners: {}\n"
    assert "- plan team" in admin.run("apply", "-f", "-", "--yes", stdin=emptied)


def test_a_policy_of_ecr_is_pasted(admin: Caller, file: str) -> None:
    """Principals are translated by hand."""
    statement = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::1:user/h"}, "Action": "ecr:BatchGetImage"}
    (admin.home / "ecr.json").write_text(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    words = ("apply", "-f", "ecr.json", "--resource", "applied/web", "--plan")
    assert "say who this is here" in admin.fail(*words)
    planned = admin.run(*words, "--principal", "arn:aws:iam::1:user/h=user:hugo")
    assert planned.splitlines()[0] == "+ user:hugo has pull on applied/web"
    assert "FOREIGN=SUBJECT" in admin.fail(*words, "--principal", "user:hugo")
    nowhere = admin.fail("apply", "-f", "ecr.json", "--principal", "arn:aws:iam::1:user/h=user:hugo", "--plan")
    assert nowhere.startswith("Statement[0].Resource: this statement has no Resource")
    assert "--resource acme/web" in nowhere
    registry = admin.ask(*words[:3], "--resource", "", "--plan", "--principal", "arn:aws:iam::1:user/h=user:hugo")
    assert [each["resource"] for each in registry["add"]] == [""]


GRANT = "{subject: user:hugo, resource: applied, role: reader}"
BAD_NETWORK = "{networks: [10.0.0.1/8]}"
UNSUPPORTED = "{Bool: {'aws:SecureTransport': true}}"
BROKEN = [
    (
        f"grants: [{GRANT}, {{subject: everyone, resource: applied, role: reader, conditions: {BAD_NETWORK}}}]",
        "grants[1].conditions.networks[0]: this is no network, such as 10.0.0.0/8",
    ),
    (
        "grants: [{subject: everyone, resource: applied, actions: [fly]}]",
        "grants[0].actions[0]: there is no such action; there are: delete, ",
    ),
    (
        f"grants: [{GRANT}, {{subject: team:acme/nope, resource: applied, role: reader}}]",
        "grants[1].subject: there is no such team; `entrepot team list ORGANISATION` lists those that are there",
    ),
    (
        "grants: [{subject: everyone, resource: applied, role: rider}]",
        "grants[0].role: there is no such role; there are: reader, writer, maintainer, owner",
    ),
    (
        "grants: [{subject: everyone, resource: applied, role: reader, conditions: {days: [foo]}}]",
        "grants[0].conditions.days[0]: Invalid enum value 'foo'; there are: fri, mon, sat, sun, thu, tue, wed",
    ),
    (
        "grants: [{subject: everyone, resource: applied, role: reader, conditions: {mfa: true}}]",
        "grants[0].conditions.mfa: Object contains unknown field `mfa`; there are: networks, not_networks, ",
    ),
    (
        f"Statement: [{{Effect: Allow, Principal: '*', Action: '*', Resource: applied, Condition: {UNSUPPORTED}}}]",
        "Statement[0].Condition.Bool.aws:SecureTransport: this condition is not supported; there are: IpAddress",
    ),
    (
        f"grants: [{GRANT}]\ngrants: []",
        "bad.yaml is neither YAML nor JSON: grants is there twice",
    ),
]


@pytest.mark.parametrize(("text", "told"), BROKEN)
def test_a_refusal_says_where_and_what_there_is(admin: Caller, file: str, text: str, told: str) -> None:
    """The path of the field that is wrong and what could stand there, already by the plan."""
    (admin.home / "bad.yaml").write_text(text if "Statement" in text else f"resources: [applied]\n{text}\n")
    assert admin.fail("apply", "-f", "bad.yaml", "--plan").startswith(told)


def test_mappings_are_merged(admin: Caller, file: str) -> None:
    """A name that is merged in and written again is not there twice."""
    text = f"resources: [applied]\ngrants:\n  - &one {GRANT}\n  - {{<<: *one, role: writer}}\n"
    (admin.home / "merged.yaml").write_text(text)
    assert [each["role"] for each in admin.ask("apply", "-f", "merged.yaml", "--plan")["add"]] == ["reader", "writer"]


@pytest.mark.parametrize(
    ("text", "reason"), [("[1", "neither YAML nor JSON"), ("- 1", "must hold"), ("a: 1", "unknown field")]
)
def test_files_that_are_refused(admin: Caller, file: str, text: str, reason: str) -> None:
    """In one line, with what is wrong."""
    (admin.home / "bad.yaml").write_text(text)
    assert reason in admin.fail("apply", "-f", "bad.yaml", "--plan")
    assert "cannot read nowhere.yaml" in admin.fail("apply", "-f", "nowhere.yaml")


def test_a_file_that_is_too_large_is_not_cut(admin: Caller, file: str) -> None:
    """What does not fit is refused as a whole: half a list of grants would take the others away."""
    (admin.home / "large.yaml").write_text(ACCESS + "#" * (4 << 20))
    assert "over 4 MiB" in admin.call("apply", "-f", "large.yaml", "--yes").stderr
    assert admin.call("apply", "-f", file, "--plan").returncode == 0
