"""Policy documents of IAM's shape: what they state, what they refuse, and that they come back as they went out."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.domain.errors import RequestInvalid
from entrepot.domain.grants import GRANTABLE, Conditions, Hours
from entrepot.domain.names import parse_repository_name
from entrepot.domain.patterns import matches
from entrepot.domain.policy_document import Stated, parse_policy, render_policy

# In the form that the documentation of ECR gives for pulls and pushes by one role from one network.
ECR_POLICY = {
    "Version": "2008-10-17",
    "Statement": [
        {
            "Sid": "AllowPushPull",
            "Effect": "Allow",
            "Principal": {"AWS": ["arn:aws:iam::111122223333:role/ci", "arn:aws:iam::111122223333:user/bob"]},
            "Action": [
                "ecr:BatchGetImage",
                "ecr:BatchCheckLayerAvailability",
                "ecr:CompleteLayerUpload",
                "ecr:GetDownloadUrlForLayer",
                "ecr:InitiateLayerUpload",
                "ecr:PutImage",
                "ecr:UploadLayerPart",
            ],
            "Condition": {"IpAddress": {"aws:SourceIp": ["54.240.143.0/24", "192.0.2.1"]}},
        },
        {"Effect": "Deny", "Principal": "*", "Action": "ecr:BatchDeleteImage", "Resource": "*"},
    ],
}
STATEMENT: dict[str, Any] = {"Effect": "Allow", "Principal": "*", "Action": "entrepot:pull"}


def one(**change: Any) -> list[Stated]:
    """What a document of one statement with these parts states."""
    return parse_policy({"Statement": {**STATEMENT, **change}}, "acme/app")


def test_a_policy_of_ecr_is_understood() -> None:
    """Principals, actions, networks and the repository that it is pasted to."""
    ci, bob, nobody = sorted(parse_policy(ECR_POLICY, "acme/app"), key=lambda each: (each.effect, each.principal[-3:]))
    assert (ci.principal, bob.principal) == ("arn:aws:iam::111122223333:role/ci", "arn:aws:iam::111122223333:user/bob")
    assert ci.actions == ("pull", "push", "tag.create", "tag.move")
    assert ci.conditions == Conditions(networks=("54.240.143.0/24", "192.0.2.1"))
    assert (nobody.principal, nobody.effect, nobody.actions) == ("*", "deny", ("delete", "tag.delete"))
    assert {each.resource for each in (ci, bob, nobody)} == {"acme/app"}


@pytest.mark.parametrize(
    ("word", "actions"),
    [
        ("ecr:BatchGet*", {"pull"}),
        ("ECR:putimage", {"push", "tag.create", "tag.move"}),
        ("entrepot:tag.*", {"tag.create", "tag.move", "tag.delete"}),
        ("*", {action.value for action in GRANTABLE}),
        ("entrepot:*", {action.value for action in GRANTABLE}),
    ],
)
def test_actions_have_stars_and_no_case(word: str, actions: set[str]) -> None:
    """As IAM reads them."""
    assert {*one(Action=word)[0].actions} == actions


def test_resources() -> None:
    """ARNs of repositories, names and patterns of ours; a star is what the document is pasted to."""
    places = ["arn:aws:ecr:eu-west-1:1234:repository/acme/web", "acme/x-*", "", "*"]
    assert [each.resource for each in one(Resource=places)] == ["acme/web", "acme/x-*", "", "acme/app"]


ARN = "arn:aws:ecr:*:*:repository/"


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("acme-prod/*", ["acme-prod/**"]),
        ("acme/web-***", ["acme/web-**"]),
        ("*", ["**"]),
        ("web", ["library/web"]),
        ("acme-*", ["acme-**", "library/acme-**"]),
        ("*-dev", ["**/**-dev"]),
        ("a*b*c", ["a**/**b**c", "a**b**/**c", "library/a**b**c"]),
    ],
)
def test_stars_of_arns_span_slashes(name: str, places: list[str]) -> None:
    """As IAM reads them; a repository without a namespace is where clients find it."""
    assert [each.resource for each in one(Resource=ARN + name)] == places


WORDS = st.text("ab", min_size=1, max_size=3)


@given(
    st.text("ab/*", min_size=1, max_size=8).filter(lambda text: "//" not in text),
    st.lists(WORDS, min_size=1, max_size=3).map("/".join),
)
def test_an_arn_is_about_the_repositories_that_it_is_about_in_iam(pattern: str, name: str) -> None:
    """No other ones, and none is left out: by the name that it has in ECR, or by the one that it has here."""
    here = parse_repository_name(name)
    asked = re.compile(re.escape(pattern).replace(r"\*", ".*"))
    in_iam = any(asked.fullmatch(each) for each in (name, here))
    stated = one(Resource=ARN + pattern)
    assert in_iam == any(matches(each.resource, place) for each in stated for place in (here, here.namespace))


@pytest.mark.parametrize("resource", [None, "*", ["acme/x", "*"]])
def test_what_a_document_is_about_is_never_guessed(resource: Any) -> None:
    """Without a word about it, a statement that names no resource is refused with what to write."""
    with pytest.raises(RequestInvalid, match="--resource acme/web") as refused:
        parse_policy({"Statement": [STATEMENT | {"Resource": "acme/x"}, {**STATEMENT, "Resource": resource}]}, None)
    assert str(refused.value.detail["field"]).startswith("Statement[1].Resource")
    assert [each.resource for each in parse_policy({"Statement": {**STATEMENT, "Resource": "acme/x"}}, None)] == [
        "acme/x"
    ]


def test_conditions() -> None:
    """Networks, times, tags, and what only we have."""
    (found,) = one(
        Condition={
            "IpAddress": {"entrepot:SourceIp": "2001:db8::1"},
            "NotIpAddress": {"aws:SourceIp": ["2001:db8::/64"]},
            "DateGreaterThanEquals": {"aws:CurrentTime": "2026-01-01T00:00:00Z"},
            "DateLessThan": {"aws:CurrentTime": "2027-01-01T00:00:00Z"},
            "StringLike": {"entrepot:Tag": ["v*"], "entrepot:ClientCertificate": "spiffe://acme/*"},
            "StringEquals": {"entrepot:Listener": "private"},
            "Entrepot": {"days": ["mon"], "hours": {"start": "08:00", "end": "18:00"}},
        }
    )
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    hours = Hours("08:00", "18:00")
    networks = ("2001:db8::1",), ("2001:db8::/64",)
    others = ("spiffe://acme/**",), ("private",)
    assert found.conditions == Conditions(*networks, start, end, ("mon",), hours, *others)
    assert found.tags == "v*"
    assert one(Condition={"StringEquals": {"entrepot:Tag": "v1"}})[0].tags == "v1"


TWICE: list[tuple[Any, str]] = [
    ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8", "entrepot:SourceIp": "0.0.0.0/0"}}, "IpAddress.entrepot:SourceIp"),
    ({"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8", "aws:sourceip": "::/0"}}, "NotIpAddress.aws:sourceip"),
    (
        {
            "DateLessThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"},
            "DateLessThanEquals": {"aws:CurrentTime": "2030-01-01T00:00:00Z"},
        },
        "DateLessThanEquals.aws:CurrentTime",
    ),
    ({"StringLike": {"entrepot:Tag": "dev-*"}, "StringEquals": {"entrepot:Tag": "v1"}}, "StringEquals.entrepot:Tag"),
    (
        {"StringEquals": {"entrepot:Listener": "a", "entrepot:listener": "b"}},
        "StringEquals.entrepot:listener",
    ),
    (
        {"StringLike": {"entrepot:ClientCertificate": "a"}, "Entrepot": {"clients": ["**"]}},
        "Entrepot.clients",
    ),
    (
        {"Entrepot": {"listeners": ["a"]}, "StringEquals": {"entrepot:Listener": "b"}},
        "StringEquals.entrepot:Listener",
    ),
]


@pytest.mark.parametrize(("condition", "path"), TWICE)
def test_a_condition_that_is_there_twice_is_refused(condition: Any, path: str) -> None:
    """Both would have to hold; the last one alone would widen the policy."""
    with pytest.raises(RequestInvalid, match="write one that says both") as refused:
        one(Condition=condition)
    assert refused.value.detail["field"] == f"Statement[0].Condition.{path}"


@pytest.mark.parametrize(
    ("condition", "path"),
    [
        ({"IpAddress": {}}, "IpAddress"),
        ({"Entrepot": {}}, "Entrepot"),
        ({"Entrepot": ["days"]}, "Entrepot"),
        ({"IpAddress": {"aws:SourceIp": []}}, "IpAddress.aws:SourceIp"),
        ({"IpAddress": {"aws:SourceIp": None}}, "IpAddress.aws:SourceIp"),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.1/8"}}, "IpAddress.aws:SourceIp"),
        ({"DateLessThan": {"aws:CurrentTime": "2026-12-31T00:00:00"}}, "DateLessThan.aws:CurrentTime"),
        ({"StringEquals": {"entrepot:Listener": []}}, "StringEquals.entrepot:Listener"),
        ({"StringEquals": {"entrepot:Tag": "*"}}, "StringEquals.entrepot:Tag"),
        ({"StringLike": {"entrepot:Tag": ["v*", "w*"]}}, "StringLike.entrepot:Tag"),
        ({"StringEquals": {"entrepot:ClientCertificate": "a*"}}, "StringEquals.entrepot:ClientCertificate"),
        ({"StringLike": {"entrepot:ClientCertificate": "a?"}}, "StringLike.entrepot:ClientCertificate"),
        ({"Entrepot": {"days": []}}, "Entrepot.days"),
        ({"Entrepot": {"hours": None}}, "Entrepot.hours"),
    ],
)
def test_conditions_that_would_say_less_than_they_seem_to(condition: Any, path: str) -> None:
    """Empty ones, and patterns where IAM compares or means more: each is refused with its path."""
    with pytest.raises(RequestInvalid) as refused:
        one(Condition=condition)
    assert refused.value.detail["field"] == f"Statement[0].Condition.{path}"


@pytest.mark.parametrize(
    ("own", "allowed"),
    [({"days": ["foo"]}, ["fri", "mon", "sat", "sun", "thu", "tue", "wed"]), ({"mfa": True}, ["days", "hours"])],
)
def test_an_unknown_word_is_told_what_there_is(own: Any, allowed: list[str]) -> None:
    """The days that there are, the conditions that there are."""
    with pytest.raises(RequestInvalid, match=f"there are: {', '.join(allowed)}") as refused:
        one(Condition={"Entrepot": own})
    told = refused.value.detail["allowed"]
    assert isinstance(told, list)
    assert told[: len(allowed)] == allowed


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], ""),
        ({"Statements": []}, "Statements"),
        ({"Version": "2030-01-01", "Statement": [STATEMENT]}, "Version"),
        ({"Statement": []}, "Statement"),
        ({"Statement": ["x"]}, "Statement[0]"),
        ({"Statement": [STATEMENT, {**STATEMENT, "NotAction": "x"}]}, "Statement[1].NotAction"),
        ({"Statement": {**STATEMENT, "Effect": "allow"}}, "Statement[0].Effect"),
        ({"Statement": {**STATEMENT, "Principal": None}}, "Statement[0].Principal"),
        ({"Statement": {**STATEMENT, "Principal": {}}}, "Statement[0].Principal"),
        ({"Statement": {**STATEMENT, "Principal": ""}}, "Statement[0].Principal"),
        ({"Statement": {**STATEMENT, "Principal": {"Service": "x"}}}, "Statement[0].Principal.Service"),
        ({"Statement": {**STATEMENT, "Principal": {"AWS": [1]}}}, "Statement[0].Principal.AWS"),
        ({"Statement": {**STATEMENT, "Principal": {"AWS": []}}}, "Statement[0].Principal.AWS"),
        ({"Statement": {**STATEMENT, "Action": []}}, "Statement[0].Action"),
        ({"Statement": {**STATEMENT, "Action": ["entrepot:pull", "s3:Get*"]}}, "Statement[0].Action[1]"),
        ({"Statement": {**STATEMENT, "Resource": ["arn:aws:s3:::x"]}}, "Statement[0].Resource[0]"),
        ({"Statement": {**STATEMENT, "Resource": [f"{ARN}acme/?"]}}, "Statement[0].Resource[0]"),
        ({"Statement": {**STATEMENT, "Resource": ["acme", 1]}}, "Statement[0].Resource[1]"),
        ({"Statement": {**STATEMENT, "Resource": []}}, "Statement[0].Resource"),
        ({"Statement": {**STATEMENT, "Condition": []}}, "Statement[0].Condition"),
        ({"Statement": {**STATEMENT, "Condition": {"Bool": {"a": 1}}}}, "Statement[0].Condition.Bool.a"),
        ({"Statement": {**STATEMENT, "Condition": {"Bool": 1}}}, "Statement[0].Condition.Bool"),
        (
            {"Statement": {**STATEMENT, "Condition": {"StringLike": {"aws:UserAgent": "x"}}}},
            "Statement[0].Condition.StringLike.aws:UserAgent",
        ),
        (
            {"Statement": {**STATEMENT, "Condition": {"DateLessThan": {"aws:CurrentTime": "soon"}}}},
            "Statement[0].Condition.DateLessThan.aws:CurrentTime",
        ),
        (
            {"Statement": {**STATEMENT, "Condition": {"Entrepot": {"days": ["x"]}}}},
            "Statement[0].Condition.Entrepot.days[0]",
        ),
        (
            {"Statement": {**STATEMENT, "Condition": {"Entrepot": {"networks": ["10.0.0.0/8"]}}}},
            "Statement[0].Condition.Entrepot.networks",
        ),
    ],
)
def test_what_has_no_meaning_here_is_refused(document: Any, field: str) -> None:
    """With its path: a part that nobody looks at would widen the policy."""
    with pytest.raises(RequestInvalid) as refused:
        parse_policy(document, "acme/app")
    assert refused.value.detail["field"] == field


STATED = st.builds(
    Stated,
    st.sampled_from(["everyone", "user:bob", "team:acme/devs"]),
    st.sets(st.sampled_from(sorted(action.value for action in GRANTABLE)), min_size=1).map(lambda s: tuple(sorted(s))),
    st.sampled_from(["", "*", "**", "acme", "acme/app", "acme/*", "acme/**", "acme/a?"]),
    st.sampled_from(["allow", "deny"]),
    st.sampled_from(["", "v*"]),
    st.sampled_from(
        [
            None,
            Conditions(
                networks=("10.0.0.0/8",), not_networks=("10.9.0.0/16",), not_after=datetime(2027, 1, 1, tzinfo=UTC)
            ),
            Conditions(not_before=datetime(2026, 1, 1, tzinfo=UTC), days=("mon", "sun"), clients=("a*",)),
            Conditions(hours=Hours("22:00", "06:00", "Europe/Berlin"), listeners=("private",)),
        ]
    ),
    st.just(""),
)


@given(st.lists(STATED, min_size=1, max_size=5))
def test_what_is_written_is_read_again(stated: list[Stated]) -> None:
    """A document that we write states the same when it is read, and is written the same again."""
    read = parse_policy(render_policy(stated), "*")
    said = [(each.principal.replace("*", "everyone"), each.actions, each.resource, each.effect) for each in read]
    assert said == [(each.principal, each.actions, each.resource, each.effect) for each in stated]
    assert [(each.tags, each.conditions) for each in read] == [(each.tags, each.conditions) for each in stated]
    again = [msgspec.structs.replace(each, principal=each.principal.replace("*", "everyone")) for each in read]
    assert render_policy(again) == render_policy(stated)
