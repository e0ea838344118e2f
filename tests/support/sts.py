"""AWS STS on this machine: moto's server, with a role to assume and real signatures by botocore."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.session import Session

from entrepot.domain.aws import QUESTION, SERVER_ID, render_signed_request

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/ci"
KEYS = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")


class LocalSts:
    """The server; `credentials` are those of a session of the role `ci`."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from moto.server import ThreadedMotoServer  # noqa: PLC0415 - it warns where it is imported

            self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
            self._server.start()
            host, port = self._server.get_host_and_port()
            self.url = f"http://{host}:{port}"
            self.credentials = self._assume()

    def __enter__(self) -> LocalSts:
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.stop()

    def _assume(self) -> Credentials:
        client = Session().create_client(
            "sts",
            region_name="us-east-1",
            endpoint_url=self.url,
            aws_access_key_id=KEYS[0],
            aws_secret_access_key=KEYS[1],
        )
        found = client.assume_role(RoleArn=ROLE, RoleSessionName="job-1")["Credentials"]
        client.close()
        return Credentials(found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])

    def sign(self, server: str, region: str = "us-east-1", url: str = "", headers: Mapping[str, str] = {}) -> str:
        """A signed request, as a client sends it to the registry."""
        address, body = (url or self.url) + "/", urlencode(QUESTION)
        said = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Host": urlsplit(address).netloc,
            SERVER_ID: server,
        }
        request = AWSRequest(method="POST", url=address, data=body, headers={**said, **headers})
        SigV4Auth(self.credentials, "sts", region).add_auth(request)
        return render_signed_request("POST", address, dict(request.headers.items()), body)
