"""`entrepot ci-login`: from the token of a CI job to a login of docker and podman that lasts 15 minutes."""

from __future__ import annotations

import os
import pathlib
import sys
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from cyclopts import Parameter

from entrepot.cli.output import clean, print_json
from entrepot.cli.target import SERVER, Where
from entrepot.client.authfile import AuthFile
from entrepot.client.credentials import CredentialsFile, Login
from entrepot.client.errors import ClientError
from entrepot.client.exchange import AWS, EXCHANGE, ID_TOKEN, VARIABLE, TokenDoor, find_token, read_token, sign_aws
from entrepot.client.http import parse_server
from entrepot.domain.names import FEDERATED

THERE = Where()
AWS_REGION = "us-east-1"


@Parameter(name="*")
@dataclass(frozen=True)
class Proof:
    """Where the proof of who this is comes from."""

    token_file: Annotated[pathlib.Path | None, Parameter(help="Read the job's token from this file.")] = None
    token_variable: Annotated[str, Parameter(help="The variable that holds it, as GitLab's id_tokens names it.")] = (
        VARIABLE
    )
    audience: Annotated[str, Parameter(help="For whom the token is; else the host of the registry.")] = ""
    aws: Annotated[bool, Parameter(help="Prove who this is by AWS instead.", negative="")] = False
    region: Annotated[str, Parameter(help="The region of AWS; else AWS_REGION.")] = ""
    sts: Annotated[str, Parameter(help="The endpoint of STS, where it is not the usual one.")] = ""

    def form(self, host: str) -> dict[str, str]:
        """What the token service is sent."""
        audience = self.audience or host
        if self.aws:
            region = self.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or AWS_REGION
            return {"grant_type": AWS, "signed_request": sign_aws(audience, region, self.sts)}
        found = self.token_file
        token = read_token(found) if found else find_token(os.environ, self.token_variable, audience)
        return {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": ID_TOKEN}


@Parameter(name="*")
@dataclass(frozen=True)
class Result:
    """What is asked for, and where it goes."""

    scope: Annotated[
        list[str] | None, Parameter(help="Ask for less than the rule gives; may be repeated.", negative="")
    ] = None
    rule: Annotated[str, Parameter(help="By this rule; else the first that fits.")] = ""
    authfile: Annotated[pathlib.Path | None, Parameter(help="Where the login goes; else where docker keeps it.")] = None
    show: Annotated[bool, Parameter(name="--print", help="Print the token, and write no file.", negative="")] = False


FOUND = Proof()
USUAL = Result()


def ci_login(
    address: Annotated[str | None, Parameter(help="Address of the registry.")] = None,
    /,
    *,
    proof: Proof = FOUND,
    result: Result = USUAL,
    where: Where = THERE,
) -> None:
    """Exchange the token of this job for a login of docker and podman that lasts 15 minutes."""
    named = address or where.server or os.environ.get(SERVER)
    if not named:
        raise ClientError("no registry is named; give its address, such as https://registry.example.com")
    server = parse_server(named)
    host = urlsplit(server).netloc
    form = proof.form(host) | ({"rule": result.rule} if result.rule else {})
    answer = _door(server, where).exchange(form, result.scope or [])
    if result.show:
        print(answer["token"])
        return
    _keep(AuthFile(result.authfile, os.environ), host, answer, is_json=where.json)


def _door(server: str, where: Where) -> TokenDoor:
    kept = CredentialsFile(os.environ).load().servers.get(server, Login())
    return TokenDoor(server, Login(ca=str(where.ca) if where.ca else kept.ca))


def _keep(file: AuthFile, host: str, answer: dict[str, str], *, is_json: bool) -> None:
    helper = file.put(host, FEDERATED, answer["token"])
    if helper:
        print(
            f"entrepot: warning: docker asks the helper {clean(helper)} for {clean(host)} and not this file; pass "
            "--authfile, or pipe --print into docker login --password-stdin",
            file=sys.stderr,
        )
    if is_json:
        print_json(
            {"registry": host, "username": FEDERATED, "expires_in": answer["expires_in"], "file": str(file.path)}
        )
    else:
        print(f"logged in to {clean(host)} for {clean(answer['expires_in'])} seconds, in {clean(file.path)}")
