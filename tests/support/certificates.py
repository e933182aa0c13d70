"""An authority of the test's own, and certificates in the layout of cert-manager."""

from __future__ import annotations

import os
from pathlib import Path

import trustme

from matteworks_deploy.topology import SERVICES

LOCAL_NAMES = ("127.0.0.1", "localhost", *(row.name for row in SERVICES))


def write_identity(authority: trustme.CA, directory: Path, *names: str) -> None:
    """`tls.crt`, `tls.key` and `ca.crt` for a new certificate; what was there is replaced file by file."""
    directory.mkdir(parents=True, exist_ok=True)
    issued = authority.issue_cert(*names)
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    files = {
        "tls.key": issued.private_key_pem.bytes(),
        "tls.crt": chain,
        "ca.crt": authority.cert_pem.bytes(),
    }
    for name, content in files.items():
        unfinished = directory / f".{name}"
        unfinished.write_bytes(content)
        # By renaming, as secrets of a cluster change too.
        os.replace(unfinished, directory / name)
