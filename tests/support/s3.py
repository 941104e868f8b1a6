"""An S3 on loopback, with nothing in it but one empty bucket."""

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
from moto.server import ThreadedMotoServer


@dataclass(frozen=True)
class Bucket:
    """A bucket and the keys that open it."""

    name: str
    endpoint: str
    key_id: str
    secret: str

    @property
    def client(self) -> Any:
        """boto3's."""
        keys = {"aws_access_key_id": self.key_id, "aws_secret_access_key": self.secret}
        return boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1", **keys)

    def objects(self) -> list[str]:
        """The keys of all that is in it."""
        return [
            entry["Key"]
            for entry in self.client.list_objects_v2(Bucket=self.name).get("Contents", [])
        ]


@contextlib.contextmanager
def bucket(name: str) -> Iterator[Bucket]:
    """A bucket for as long as the block lasts."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        made = Bucket(
            name,
            f"http://{host}:{port}",
            f"AKIA{secrets.token_hex(8).upper()}",
            secrets.token_hex(20),
        )
        made.client.create_bucket(Bucket=name)
        yield made
    finally:
        server.stop()
