"""moto as a server of S3 on a free port of loopback, with one bucket and one user, whose signature it checks.

s3_server.py CREDENTIALS_FILE BUCKET: writes the user's credentials, says "ready ..." as our programs do, and serves until
it is ended.
"""

import json
import os
import signal
import sys

os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "5"
for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
    os.environ[name] = "setup"
os.environ.pop("AWS_SESSION_TOKEN", None)

import boto3  # noqa: E402
import flask  # noqa: E402
from moto.iam.access_control import S3IAMRequest  # noqa: E402
from moto.server import ThreadedMotoServer  # noqa: E402

EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


decoded_request = S3IAMRequest._create_aws_request


def request_as_sent(self):
    """moto judges a signature by the decoded query, where AWS takes it as it was sent."""
    request = decoded_request(self)
    request.url = flask.request.host_url.rstrip("/") + flask.request.environ["RAW_URI"]
    return request


S3IAMRequest._create_aws_request = request_as_sent


def main() -> None:
    file, bucket = sys.argv[1:]
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    at = {"endpoint_url": f"http://{host}:{port}", "region_name": "us-east-1"}
    # Five actions without authentication, and no more.
    iam = boto3.client("iam", **at)
    iam.create_user(UserName="sluice")
    key = iam.create_access_key(UserName="sluice")["AccessKey"]
    iam.put_user_policy(UserName="sluice", PolicyName="all", PolicyDocument=json.dumps(EVERYTHING))
    boto3.client("s3", **at).create_bucket(Bucket=bucket)
    iam.list_users()
    with open(file, "w") as out:
        out.write(f"[default]\naws_access_key_id = {key['AccessKeyId']}\naws_secret_access_key = {key['SecretAccessKey']}\n")
    print(f"ready grpc={host}:{port} http={host}:{port}", flush=True)
    signal.sigwait({signal.SIGTERM})
    server.stop()


if __name__ == "__main__":
    main()
