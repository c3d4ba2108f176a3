"""Adapter folders, signed so that the stock `model_signing verify key` accepts them.

The format is the OpenSSF Model Signing one (https://github.com/sigstore/model-transparency):
a Sigstore bundle around an in-toto Statement of the files and their SHA-256. Its keys are
elliptic curves only, so adapters have a key beside the Ed25519 one of the ledger.
"""

import shutil
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

from cryptography.exceptions import InvalidSignature

from tidegate.flows.signing.pipeline import PipelineKeys
from tidegate.flows.versions import ADAPTER_FILES


def sign_adapter(adapter: Path, keys: PipelineKeys, out: Path) -> str:
    """Write the signature of an adapter's two files to `out`; return the key's name."""
    # Imported here: it brings Sigstore's client along, and most commands never sign.
    from model_signing import signing

    keyid = keys.adapter_key()
    with tempfile.TemporaryDirectory(dir=out.parent) as work:
        folder = Path(work) / "adapter"
        folder.mkdir()
        for name in ADAPTER_FILES:  # what the registry stores, and nothing that lies beside it
            shutil.copyfile(adapter / name, folder / name)
        config = signing.Config()  # type: ignore[no-untyped-call]
        signer = config.use_elliptic_key_signer(private_key=keys.adapter_private)
        signer.sign(folder, out)
    return keyid


def refused_signature(adapter: Path, signature: Path, public: Path) -> str | None:
    """Why the stock verifier does not take the signature of an adapter's folder; None if it does.

    Whoever can write to the artifact store wrote the signature: any mistake in it is a refusal.
    """
    from model_signing import verifying

    config = verifying.Config()  # type: ignore[no-untyped-call]
    verifier = config.use_elliptic_key_verifier(public_key=public)
    try:
        with redirect_stdout(sys.stderr):  # it prints warnings there
            verifier.verify(adapter, signature)
    except InvalidSignature:
        return "the signature is not by the key"
    except (ValueError, TypeError, LookupError, AttributeError, OSError, RecursionError) as no:
        return type(no).__name__
    return None
