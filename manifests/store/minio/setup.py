"""Make what the store needs before anybody uses it: credentials, the bucket, and five users.

`trainer` may create and read versions and records of training, `reader` may only read versions, `rollouts` may create
and read the records of rollouts, `logger` may create files of the inference log and read none of them, `analyst` may
read everything and create labels and reports; none may delete. Every credential is made here, once, and kept in
Secrets; what exists already is left as it is, so the job may run again.
"""

from __future__ import annotations

import base64
import os
import secrets
import sys
import time
from typing import Any

from kubernetes import client, config
from minio import Minio
from minio.commonconfig import ENABLED
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException, MinioException, S3Error
from minio.minioadmin import MinioAdmin
from minio.versioningconfig import VersioningConfig
from urllib3.exceptions import HTTPError

STORE_NAMESPACE = "sabia-store"
MODELS_NAMESPACE = "sabia"
WAIT_SECONDS = 240

# What each user may do, and to which objects; all may list the bucket and ask where it is.
READ, CREATE = "s3:GetObject", "s3:PutObject"
USERS: dict[str, tuple[str, dict[str, list[str]]]] = {
    "trainer": ("models-s3-trainer", {"*": [READ, CREATE]}),
    "reader": ("models-s3", {"*models/*": [READ]}),  # a store may begin at a prefix
    # Labels decide: of the predictions in the log, and by what the versions predict.
    "rollouts": (
        "models-s3-rollouts",
        {"rollouts/*": [READ, CREATE], "*models/*": [READ], "inference-log/*": [READ], "labels/*": [READ]},
    ),
    "logger": ("models-s3-logger", {"inference-log/*": [CREATE]}),
    "analyst": ("models-s3-analyst", {"*": [READ], "labels/*": [CREATE], "reports/*": [CREATE]}),
}


def main() -> int:
    """Make everything, waiting for the store in between."""
    service, bucket = os.environ["MINIO_SERVICE"], os.environ["BUCKET"]
    config.load_incluster_config()
    api = client.CoreV1Api()
    wanted = {"MINIO_ROOT_USER": "root", "MINIO_ROOT_PASSWORD": password()}
    root = ensure_secret(api, STORE_NAMESPACE, "minio-root", wanted)
    user, secret = root["MINIO_ROOT_USER"], root["MINIO_ROOT_PASSWORD"]
    store = Minio(service, access_key=user, secret_key=secret, secure=False)
    wait_for(store, bucket)
    if not store.bucket_exists(bucket_name=bucket):
        store.make_bucket(bucket_name=bucket)
    store.set_bucket_versioning(bucket_name=bucket, config=VersioningConfig(ENABLED))
    admin = MinioAdmin(endpoint=service, credentials=StaticProvider(user, secret), secure=False)
    for name, (secret_name, rights) in USERS.items():
        key = ensure_user_secret(api, service, name, secret_name)
        ensure_user(admin, name, key, policy(bucket, rights))
        print(f"user {name}: {rights}", flush=True)
    return 0


def password() -> str:
    """A new secret of 192 bits."""
    return secrets.token_hex(24)


def ensure_secret(
    api: client.CoreV1Api, namespace: str, name: str, values: dict[str, str], annotations: dict[str, str] | None = None
) -> dict[str, str]:
    """Create the Secret, or leave the one that is there; returns what it holds."""
    metadata = client.V1ObjectMeta(name=name, namespace=namespace, annotations=annotations)
    try:
        api.create_namespaced_secret(namespace, client.V1Secret(metadata=metadata, string_data=values))
        print(f"secret {namespace}/{name}: created", flush=True)
    except client.ApiException as error:
        if error.status != 409:
            raise
        print(f"secret {namespace}/{name}: kept", flush=True)
    found: dict[str, str] = api.read_namespaced_secret(name, namespace).data
    return {key: base64.b64decode(value).decode() for key, value in found.items()}


def ensure_user_secret(api: client.CoreV1Api, service: str, user: str, name: str) -> str:
    """The secret key of a user, from the Secret that KServe's storage initializer and the training job read."""
    annotations = {
        "serving.kserve.io/s3-endpoint": f"http://{service}",
        "serving.kserve.io/s3-verifyssl": "0",
        "serving.kserve.io/s3-usehttps": "0",
        "serving.kserve.io/s3-region": "us-east-1",
    }
    values = {
        "AWS_ACCESS_KEY_ID": user,
        "AWS_SECRET_ACCESS_KEY": password(),
        "AWS_ENDPOINT_URL": f"http://{service}",
        "AWS_REGION": "us-east-1",
    }
    return ensure_secret(api, MODELS_NAMESPACE, name, values, annotations)["AWS_SECRET_ACCESS_KEY"]


def wait_for(store: Minio, bucket: str) -> None:
    """Wait until the store answers."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            store.bucket_exists(bucket_name=bucket)
        except (S3Error, MinioException, HTTPError):
            if time.monotonic() > deadline:
                raise
            time.sleep(2)
        else:
            return


def policy(bucket: str, rights: dict[str, list[str]]) -> dict[str, Any]:
    """An S3 policy that allows these actions on these objects, and listing."""
    listing = ["s3:ListBucket", "s3:GetBucketLocation"]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": listing, "Resource": [f"arn:aws:s3:::{bucket}"]},
            *(
                {"Effect": "Allow", "Action": actions, "Resource": [f"arn:aws:s3:::{bucket}/{objects}"]}
                for objects, actions in rights.items()
            ),
        ],
    }


def ensure_user(admin: MinioAdmin, name: str, key: str, document: dict[str, Any]) -> None:
    """Write the user and its policy; both calls set what they are given."""
    admin.policy_add(policy_name=name, policy=document)
    admin.user_add(access_key=name, secret_key=key)
    try:
        admin.attach_policy(policies=[name], user=name)
    except MinioAdminException as error:
        if "PolicyChangeAlreadyApplied" not in str(error):
            raise


if __name__ == "__main__":
    sys.exit(main())
