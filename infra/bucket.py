"""Make the bucket of MLFLOW_ARTIFACTS_DESTINATION, if the S3 store does not have it yet."""

import os
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import ClientError


def main() -> None:
    name = urlsplit(os.environ["MLFLOW_ARTIFACTS_DESTINATION"]).netloc
    store = boto3.client(
        "s3",
        endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"],
        region_name=os.environ.get("AWS_DEFAULT_REGION", "us-east-1"),
    )
    try:
        store.create_bucket(Bucket=name)
    except ClientError as no:
        if no.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
            raise
    store.head_bucket(Bucket=name)
    print(f"the store has the bucket {name}")


if __name__ == "__main__":
    main()
