"""Signed requests to STS: what may be forwarded, and what the answer says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from entrepot.domain.aws import endpoints, parse_identity, parse_signed_request, render_signed_request, require_ready
from entrepot.domain.errors import Unauthenticated, Unavailable
from entrepot.domain.federation import AWS_URL, Issuer
from tests.support.clock import START

ISSUER = Issuer(1, "aws", "aws", AWS_URL, ("registry.test", "other.test"), ("eu-central-1", "us-east-1"))
URL = "https://sts.eu-central-1.amazonaws.com/"
NAMES = "content-type;host;x-amz-date;x-entrepot-server-id"
SIGNATURE = "a" * 64


def authorization(region: str = "eu-central-1", names: str = NAMES, day: str = "20260921", service: str = "sts") -> str:
    """The header that signs."""
    scope = f"AKIAIOSFODNN7EXAMPLE/{day}/{region}/{service}/aws4_request"
    return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={SIGNATURE}"


def request(**change: Any) -> dict[str, Any]:
    """A request that is right, with something else; headers are changed one by one, None takes one away."""
    headers = {
        "Authorization": authorization(),
        "Host": "sts.eu-central-1.amazonaws.com",
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Amz-Date": "20260921T141320Z",
        "X-Entrepot-Server-Id": "registry.test",
        **change.pop("headers", {}),
    }
    usual = {
        "method": "POST",
        "url": URL,
        "headers": {name: value for name, value in headers.items() if value is not None},
        "body": "Action=GetCallerIdentity&Version=2011-06-15",
    }
    return {**usual, **change}


def refusal(document: Any) -> str:
    """The problem with a request; it must have one."""
    text = document if isinstance(document, str) else json.dumps(document)
    with pytest.raises(Unauthenticated) as caught:
        require_ready(ISSUER, parse_signed_request(text), START)
    return str(caught.value.detail["problem"])


def test_a_request_that_may_be_forwarded() -> None:
    """What is signed, and the signature, is passed on; nothing else is."""
    document = request(headers={"User-Agent": "x", "Content-Length": "43"})
    ready = require_ready(ISSUER, parse_signed_request(json.dumps(document)), START)
    assert ready.url == URL
    assert set(ready.headers) == {"authorization", *NAMES.split(";")}
    assert ready.body == document["body"]
    assert ready.until > START
    again = require_ready(ISSUER, parse_signed_request(render_signed_request(**document)), START + 1)
    assert again.fingerprint == ready.fingerprint
    assert endpoints(ISSUER)["us-east-1"] == "https://sts.us-east-1.amazonaws.com"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"method": "GET"}, "action"),
        ({"body": "Action=AssumeRole&Version=2011-06-15"}, "action"),
        ({"body": "Action=GetCallerIdentity&Version=2011-06-15&Action=AssumeRole"}, "action"),
        ({"body": "Action=AssumeRole&Action=GetCallerIdentity&Version=2011-06-15"}, "action"),
        ({"body": ""}, "action"),
        ({"url": "https://sts.eu-central-1.amazonaws.com.evil.example/"}, "host"),
        ({"url": "https://evil.example/"}, "host"),
        ({"url": "http://sts.eu-central-1.amazonaws.com/"}, "host"),
        ({"url": "https://sts.eu-central-1.amazonaws.com:444/"}, "host"),
        ({"url": "https://evil@sts.eu-central-1.amazonaws.com/"}, "host"),
        ({"url": URL + "?Action=AssumeRole"}, "host"),
        ({"url": URL + "x"}, "host"),
        ({"url": "https://sts.us-east-1.amazonaws.com/"}, "host"),
        ({"headers": {"Host": "evil.example"}}, "host"),
        ({"headers": {"Host": None}}, "host"),
        (
            {"headers": {"Authorization": authorization("eu-west-1")}, "url": "https://sts.eu-west-1.amazonaws.com/"},
            "region",
        ),
        ({"headers": {"Authorization": authorization(service="s3")}}, "malformed"),
        ({"headers": {"Authorization": None}}, "malformed"),
        ({"headers": {"Authorization": "Bearer x"}}, "malformed"),
        ({"headers": {"Authorization": authorization().replace("a" * 64, "A" * 64)}}, "malformed"),
        ({"headers": {"Authorization": authorization(names="host;x-amz-date")}}, "headers"),
        ({"headers": {"Authorization": authorization(names=NAMES + ";x-evil"), "X-Evil": "1"}}, "headers"),
        ({"headers": {"Authorization": authorization(names=NAMES + ";x-amz-security-token")}}, "headers"),
        ({"headers": {"X-Entrepot-Server-Id": "elsewhere.test"}}, "audience"),
        ({"headers": {"X-Amz-Date": "20260921T140819Z"}}, "expired"),
        ({"headers": {"X-Amz-Date": "20260921T141421Z"}}, "expired"),
        ({"headers": {"Authorization": authorization(day="20260920")}}, "expired"),
        ({"headers": {"X-Amz-Date": "today"}}, "malformed"),
        ({"headers": {"host": "twice"}}, "malformed"),
        ({"headers": {"X-Entrepot-Server-Id": "registry.test\r\nEvil: 1"}}, "malformed"),
        ({"more": 1}, "malformed"),
        ({"headers": {"Filler": "x" * 16_384}}, "malformed"),
    ],
)
def test_requests_that_are_not_forwarded(change: dict[str, Any], problem: str) -> None:
    """Another action, host, region, server, time, or anything that is not exactly such a request."""
    assert refusal(request(**change)) == problem


@pytest.mark.parametrize("text", ["", "x", "[]", "[" * 9000])
def test_documents_that_are_none(text: str) -> None:
    """What is no JSON of a request."""
    assert refusal(text) == "malformed"


def reply(arn: str, account: str = "123456789012", user: str = "AROA:x") -> str:
    """What STS answers."""
    inner = f"<Arn>{arn}</Arn><UserId>{user}</UserId><Account>{account}</Account>"
    return f"<GetCallerIdentityResponse>{inner}</GetCallerIdentityResponse>"


def test_an_assumed_role_is_its_role() -> None:
    """Every session of a role has the same ARN; the session is a claim of its own."""
    claims = parse_identity(reply("arn:aws:sts::123456789012:assumed-role/ci/i-0abc"))
    assert claims == {
        "account": "123456789012",
        "arn": "arn:aws:iam::123456789012:role/ci",
        "user_id": "AROA:x",
        "role": "ci",
        "session": "i-0abc",
    }
    user = parse_identity(reply("arn:aws-cn:iam::123456789012:user/x/ann"))
    assert user["arn"] == "arn:aws-cn:iam::123456789012:user/x/ann"
    assert "role" not in user


@pytest.mark.parametrize(
    "text",
    [
        "",
        reply("arn:aws:iam::123456789012:user/ann") * 2,
        reply("arn:aws:iam::999999999999:user/ann"),
        reply("nonsense"),
        reply("arn:aws:iam::123456789012:user/ann").replace("<UserId>", "<Other>"),
    ],
)
def test_answers_that_are_none(text: str) -> None:
    """What does not say exactly one identity of the account that it names."""
    with pytest.raises(Unavailable):
        parse_identity(text)
