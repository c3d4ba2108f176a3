"""For whoever serves the model: sign what it answers, so that it can be learned from later.

`sign.py` needs the standard library and, for Ed25519, cryptography; `middleware.py` is plain
ASGI and needs no framework. Nothing here loads the rest of the product.
"""
