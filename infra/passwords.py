"""Write infra/.env with a new password for every service of infra/compose.yaml, once.

Never overwrites: what the databases were made with would be lost.
"""

import os
import secrets
import sys
from pathlib import Path

NAMES = (
    "POSTGRES_PASSWORD",
    "MLFLOW_ADMIN_PASSWORD",
    "MLFLOW_SECRET_KEY",
    "PREFECT_PASSWORD",
    "S3_ACCESS_KEY",
    "S3_SECRET_KEY",
)


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / ".env"
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        sys.exit(f"{path} is there already; it is kept as it is")
    with os.fdopen(file, "w") as out:
        out.writelines(f"{name}={secrets.token_hex(20)}\n" for name in NAMES)
    print(f"wrote {path}: keep it secret, and keep a copy")


if __name__ == "__main__":
    main()
