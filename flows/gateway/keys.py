"""Which gateways a home trusts: one file a key in keys/gateway/, named by the key's id.

 * `<keyid>.secret` (mode 0600) holds an HMAC secret: whoever has it can sign.
 * `<keyid>.pub` holds an Ed25519 public key: whoever has it can only verify.

A file that others can read though it is a secret, or whose name is not its key's, stops the
check: a key that nobody trusted on purpose must not make a record trusted.
"""

import base64
import os
import secrets
from pathlib import Path

from tidegate.flows.gateway.sign import SECRET, GatewayKeyError, SigningKey
from tidegate.flows.home import Home
from tidegate.flows.signing.keys import KeyFileError, PublicKey, new_key, refuse_work_tree
from tidegate.gates.signals.signatures import KEY_BYTES, Algorithm, GatewayKey

ENDING: dict[Algorithm, str] = {"hmac-sha256": ".secret", "ed25519": ".pub"}


def folder(home: Home) -> Path:
    return home.keys / "gateway"


def trusted(home: Home) -> dict[str, GatewayKey]:
    """The keys of this home by id; none if there is no gateway.

    Raises GatewayKeyError for a file that cannot be read or is not what its name says.
    """
    place = folder(home)
    if not place.is_dir():
        return {}
    found = {}
    for path in sorted(place.iterdir()):
        if path.suffix in ENDING.values():
            key = _read(path)
            if path.name != key.keyid + ENDING[key.algorithm]:
                raise GatewayKeyError(
                    f"{path}: holds the key {key.keyid}; remove it, and: tidegate gateway trust"
                )
            found[key.keyid] = key
    return found


def trust(home: Home, key: GatewayKey) -> Path:
    """Believe what the key signs, from the next check on. Trusting twice changes nothing."""
    path = folder(home) / (key.keyid + ENDING[key.algorithm])
    if path.exists():
        trusted(home)
        return path
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        _create(draft, _written(key))
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def revoke(home: Home, keyid: str) -> GatewayKey:
    """Believe the key no longer. Raises GatewayKeyError if it was not trusted."""
    key = trusted(home).get(keyid)
    if key is None:
        raise GatewayKeyError(
            f"{keyid[:40]}: no such key is trusted here; see: tidegate gateway show"
        )
    (folder(home) / (key.keyid + ENDING[key.algorithm])).unlink()
    return key


def new(out: Path, algorithm: Algorithm) -> SigningKey:
    """Make a gateway's key and write its private half to `out`, mode 0600.

    Raises GatewayKeyError or KeyFileError if there is a file already, or `out` lies in a git
    work tree.
    """
    if algorithm == "ed25519":
        new_key(out)
    else:
        refuse_work_tree(out)
        out.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            _create(out, _written(GatewayKey("hmac-sha256", secrets.token_bytes(KEY_BYTES))))
        except FileExistsError:
            raise GatewayKeyError(
                f"{out}: there is a file already; a key is never written over, name another"
            ) from None
    return SigningKey.load(out)


def given(text: str) -> GatewayKey:
    """The key that somebody names on the command line: a file, or a public key in base64.

    Raises GatewayKeyError or KeyFileError.
    """
    path = Path(text).expanduser()
    if path.is_file():
        return SigningKey.load(path).public if path.suffix != ".pub" else _read(path)
    return _public(text)


def _public(text: str) -> GatewayKey:
    return GatewayKey("ed25519", base64.b64decode(PublicKey.parse(text.strip()).key))


def _read(path: Path) -> GatewayKey:
    if path.suffix == ENDING["hmac-sha256"]:
        return SigningKey.load(path).public
    try:
        return _public(path.read_text("ascii"))
    except (OSError, UnicodeDecodeError, KeyFileError):
        raise GatewayKeyError(f"{path}: holds no Ed25519 public key in base64") from None


def _written(key: GatewayKey) -> bytes:
    text = base64.b64encode(key.key).decode()
    return f"{SECRET if key.algorithm == 'hmac-sha256' else ''}{text}\n".encode()


def _create(path: Path, text: bytes) -> None:
    """Write a file that only its owner reads. Raises FileExistsError."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
