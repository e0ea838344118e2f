"""Policy documents of IAM's shape: what they state, what they refuse, and that they come back as they went out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.domain.errors import RequestInvalid
from entrepot.domain.grants import GRANTABLE, Conditions, Hours
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
    assert ci.conditions == Conditions(networks=("54.240.143.0/24", "192.0.2.1/32"))
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
    places = ["arn:aws:ecr:eu-west-1:1234:repository/acme/web-*", "acme/x", "*"]
    assert [each.resource for each in one(Resource=places)] == ["acme/web-*", "acme/x", "acme/app"]


def test_conditions() -> None:
    """Networks, times, tags, and what only we have."""
    (found,) = one(
        Condition={
            "IpAddress": {"entrepot:SourceIp": "2001:db8::1"},
            "DateGreaterThanEquals": {"aws:CurrentTime": "2026-01-01T00:00:00Z"},
            "DateLessThan": {"aws:CurrentTime": "2027-01-01T00:00:00Z"},
            "StringLike": {"entrepot:Tag": "v*"},
            "Entrepot": {"days": ["mon"], "hours": {"start": "08:00", "end": "18:00"}},
        }
    )
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    hours = Hours("08:00", "18:00")
    assert found.conditions == Conditions(("2001:db8::1/128",), (), start, end, ("mon",), hours)
    assert found.tags == "v*"


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
        ({"Statement": {**STATEMENT, "Action": []}}, "Statement[0].Action"),
        ({"Statement": {**STATEMENT, "Action": ["entrepot:pull", "s3:Get*"]}}, "Statement[0].Action[1]"),
        ({"Statement": {**STATEMENT, "Resource": ["arn:aws:s3:::x"]}}, "Statement[0].Resource[0]"),
        ({"Statement": {**STATEMENT, "Condition": []}}, "Statement[0].Condition"),
        ({"Statement": {**STATEMENT, "Condition": {"Bool": {"a": 1}}}}, "Statement[0].Condition.Bool.a"),
        ({"Statement": {**STATEMENT, "Condition": {"Bool": 1}}}, "Statement[0].Condition.Bool."),
        (
            {"Statement": {**STATEMENT, "Condition": {"StringLike": {"aws:UserAgent": "x"}}}},
            "Statement[0].Condition.StringLike.aws:UserAgent",
        ),
        (
            {"Statement": {**STATEMENT, "Condition": {"DateLessThan": {"aws:CurrentTime": "soon"}}}},
            "Statement[0].Condition.DateLessThan.aws:CurrentTime",
        ),
        ({"Statement": {**STATEMENT, "Condition": {"Entrepot": {"days": ["x"]}}}}, "Statement[0].Condition.Entrepot"),
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
    st.sampled_from(["acme", "acme/app", "acme/*"]),
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
    """A document that we write states the same when it is read."""
    read = parse_policy(render_policy(stated), "elsewhere")
    said = [(each.principal.replace("*", "everyone"), each.actions, each.resource, each.effect) for each in read]
    assert said == [(each.principal, each.actions, each.resource, each.effect) for each in stated]
    assert [(each.tags, each.conditions) for each in read] == [(each.tags, each.conditions) for each in stated]
