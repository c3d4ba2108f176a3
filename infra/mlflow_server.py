"""Start MLflow's server with accounts, and with files through its proxy into an S3 store.

Everything comes from the environment, so that no password is in a command line or an image:

    MLFLOW_BACKEND_STORE_URI         postgresql+psycopg://… of runs and versions
    TIDEGATE_MLFLOW_ACCOUNTS         postgresql+psycopg://… of accounts, another database
    MLFLOW_AUTH_ADMIN_PASSWORD       of `admin`, who may write; read when the accounts are empty
    MLFLOW_FLASK_SERVER_SECRET_KEY   32 random bytes, the same in every replica
    MLFLOW_ARTIFACTS_DESTINATION     s3://BUCKET/FOLDER
    MLFLOW_SERVER_ALLOWED_HOSTS      the names that it is asked by, as mlflow:5000
    MLFLOW_S3_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY   of the store

Usage: python infra/mlflow_server.py HOST PORT. The process becomes MLflow.
"""

import os
import sys
import tempfile
from pathlib import Path

NEEDED = (
    "MLFLOW_BACKEND_STORE_URI",
    "TIDEGATE_MLFLOW_ACCOUNTS",
    "MLFLOW_AUTH_ADMIN_PASSWORD",
    "MLFLOW_FLASK_SERVER_SECRET_KEY",
    "MLFLOW_ARTIFACTS_DESTINATION",
)
# The cache spares an update one slow hash for each of its many requests. One process serves: a
# password that is changed through it counts at once.
ACCOUNTS = """\
[mlflow]
default_permission = READ
database_uri = {database}
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 30
"""


def main() -> None:
    host, port = sys.argv[1:]
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing:
        sys.exit(f"error: {', '.join(missing)} must be set; see the top of {__file__}")
    folder = Path(tempfile.mkdtemp(prefix="mlflow-accounts-"))  # 0700
    settings = folder / "accounts.ini"
    # An .ini file reads % as the beginning of a reference.
    database = os.environ["TIDEGATE_MLFLOW_ACCOUNTS"].replace("%", "%%")
    settings.write_text(ACCOUNTS.format(database=database))
    os.environ["MLFLOW_AUTH_CONFIG_PATH"] = str(settings)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", port]
    command += ["--workers", "1", "--app-name", "basic-auth", "--serve-artifacts"]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main()
