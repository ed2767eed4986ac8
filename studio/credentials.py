"""Content credentials (C2PA): every picture says, signed, that a model drew it; no prompt is part of what is said.

The key is made by each installation for itself and never leaves it, so others see an intact signature of somebody
they do not know; a place on C2PA's own list of the trusted takes more than software.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

import c2pa  # type: ignore[import-untyped]
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

import studio
from studio.errors import StudioError

_SOURCES: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/"
#: IPTC's words for a picture a model drew from nothing, and for one it drew over another.
DRAWN: Final = f"{_SOURCES}trainedAlgorithmicMedia"
COMPOSITE: Final = f"{_SOURCES}compositeWithTrainedAlgorithmicMedia"

_MODEL: Final = "org.pochade.model"
_SOURCE: Final = "source"
_YEARS: Final = timedelta(days=3650)
_STATES: Final[dict[str, Literal["ours", "unknown"]]] = {"Trusted": "ours", "Valid": "unknown"}
#: Thumbnails would be most of the file and time. Nothing is fetched from a network, neither to sign nor to read.
_SETTINGS: Final[dict[str, Any]] = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}
_MAGIC: Final = ((b"\x89PNG", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"RIFF", "image/webp"))


@dataclass(frozen=True, slots=True)
class Claim:
    """What is said of a picture.

    `composite`: it was drawn over another. `source`: the file of the one it was made from, whose own credentials are
    kept. `change`: what was done to that one, in C2PA's words.
    """

    model: str
    digest: str = ""
    licence: str = ""
    composite: bool = False
    source: bytes = b""
    change: Literal["edited", "transcoded"] = "edited"
    watermarked: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """What a picture's credentials say. `source`: the last word of IPTC's digital source type.

    `state`: `ours` and `unknown` are intact, signed by this installation or by somebody it cannot judge; `invalid`: the
    picture, or what is said of it, was changed after signing. `earlier`: pictures with credentials it came from.
    """

    state: Literal["ours", "unknown", "invalid"]
    signer: str = ""
    program: str = ""
    source: str = ""
    model: str = ""
    licence: str = ""
    earlier: int = 0
    watermarked: bool = False
    problems: tuple[str, ...] = ()

    @property
    def drawn(self) -> bool:
        """It is intact, and says that a model drew it."""
        return self.state != "invalid" and self.source in map(_last_word, (DRAWN, COMPOSITE))

    @property
    def composite(self) -> bool:
        return self.source == _last_word(COMPOSITE)


class Credentials:
    """The key of this installation, in `folder`, made when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._making = threading.Lock()
        self._pair: tuple[bytes, bytes] | None = None

    def sign(self, data: bytes, claim: Claim) -> bytes:
        """A PNG, JPEG or WebP with credentials; its pixels and texts are as they were.

        Raises:
            StudioError: the key cannot be read or made, or the file cannot be signed.
        """
        try:
            try:
                return self._signed(data, claim)
            except c2pa.C2paError:
                if not claim.source:
                    raise
                return self._signed(data, replace(claim, source=b""))  # what the source says of itself may be nonsense
        except c2pa.C2paError as refused:
            raise StudioError(f"The picture could not be given its content credentials ({refused}).") from refused

    def read(self, data: bytes) -> Found | None:
        """What the credentials of a PNG, JPEG or WebP say; None without any. Asks no network."""
        kind = _kind(data)
        if not kind:
            return None
        try:
            with c2pa.Context.from_dict(_SETTINGS | self._trust()) as context:
                reader = c2pa.Reader.try_create(kind, io.BytesIO(data), context=context)
                return None if reader is None else _found(json.loads(reader.json()))
        except (c2pa.C2paError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as broken:
            return Found("invalid", problems=(_line(broken),))

    def _signed(self, data: bytes, claim: Claim) -> bytes:
        chain, key = self._keys
        kind, out = _kind(data), io.BytesIO()
        with c2pa.Context.from_dict(_SETTINGS) as context:
            builder = c2pa.Builder(_manifest(claim, kind), context=context)
            if claim.source:
                about = {"title": "Source", "relationship": "parentOf", "label": _SOURCE}
                builder.add_ingredient(json.dumps(about), _kind(claim.source), io.BytesIO(claim.source))
            signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", chain, key, None))
            builder.sign(signer, kind, io.BytesIO(data), out)
        return out.getvalue()

    def _trust(self) -> dict[str, dict[str, str]]:
        """Only whoever vouches for this installation's key is believed."""
        try:
            chain, _ = self._keys
        except StudioError:
            return {}
        root = x509.load_pem_x509_certificates(chain)[-1].public_bytes(serialization.Encoding.PEM)
        return {"trust": {"user_anchors": root.decode()}}

    @property
    def _keys(self) -> tuple[bytes, bytes]:
        """The chain of certificates, and the key of the first of them, as PEM."""
        with self._making:
            self._pair = self._pair or self._kept()
            return self._pair

    def _kept(self) -> tuple[bytes, bytes]:
        chain, key = self._folder / "chain.pem", self._folder / "key.pem"
        try:
            if not (chain.is_file() and key.is_file()):
                self._folder.mkdir(parents=True, exist_ok=True)
                made_chain, made_key = _made()
                _put(key, made_key)
                _put(chain, made_chain)
            keys = chain.read_bytes(), key.read_bytes()
            public = serialization.load_pem_private_key(keys[1], None).public_key()
            certified = x509.load_pem_x509_certificate(keys[0]).public_key()
        except (OSError, ValueError) as unreadable:
            raise StudioError(
                f"The key for content credentials in {self._folder} cannot be read or made; "
                "move the folder away and a new one is made."
            ) from unreadable
        if public != certified:
            raise StudioError(f"Key and certificate in {self._folder} do not belong together; move the folder away.")
        return keys


def _found(told: dict[str, Any]) -> Found:
    manifest = told["manifests"][told["active_manifest"]]
    assertions = {one["label"]: one["data"] for one in manifest.get("assertions", ())}
    actions = [one for label, data in assertions.items() if label.startswith("c2pa.actions") for one in data["actions"]]
    model = assertions.get(_MODEL, {})
    signature = manifest.get("signature_info", {})
    program = (manifest.get("claim_generator_info") or [{}])[0]
    failures = told.get("validation_results", {}).get("activeManifest", {}).get("failure", ())
    return Found(
        state=_STATES.get(str(told.get("validation_state")), "invalid"),
        signer=_line(signature.get("common_name") or signature.get("issuer")),
        program=_line(f"{program.get('name', '')} {program.get('version', '')}"),
        source=next((_line(_last_word(one["digitalSourceType"])) for one in actions if "digitalSourceType" in one), ""),
        model=_line(model.get("title")),
        licence=_line(model.get("licence")),
        earlier=len(told["manifests"]) - 1,
        watermarked=any(one["action"].startswith("c2pa.watermarked") for one in actions),
        problems=tuple(_line(one.get("code")) for one in failures if one.get("code") != "signingCredential.untrusted"),
    )


def _manifest(claim: Claim, kind: str) -> str:
    agent = {"name": "Pochade", "version": studio.__version__}
    drawn: dict[str, object] = {"digitalSourceType": COMPOSITE if claim.composite else DRAWN, "softwareAgent": agent}
    made: list[dict[str, object]] = [{"action": "c2pa.created", **drawn}]
    if claim.source:
        opened: dict[str, object] = {"action": "c2pa.opened", "parameters": {"ingredientIds": [_SOURCE]}}
        made = [opened, {"action": f"c2pa.{claim.change}", **drawn}]
    if claim.watermarked:
        made.append({"action": "c2pa.watermarked.unbound", "softwareAgent": agent})
    model = {"title": claim.model, "digest": claim.digest, "licence": claim.licence}
    return json.dumps(
        {
            "claim_generator_info": [agent],
            "title": "Picture",
            "format": kind,
            "assertions": [
                {"label": "c2pa.actions.v2", "data": {"actions": made}},
                {"label": _MODEL, "data": {name: value for name, value in model.items() if value}},
            ],
        }
    )


def _made() -> tuple[bytes, bytes]:
    """A chain of two certificates, and the key of the first. That of the second, which vouches for it, is forgotten."""
    root, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    name = f"Pochade {secrets.token_hex(4)}"
    above = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Pochade"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{name} root"),
        ]
    )
    own = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Pochade"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )
    signed = [
        _certificate(own, key, above, root, authority=False),
        _certificate(above, root, above, root, authority=True),
    ]
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in signed), pem


def _certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuing: ec.EllipticCurvePrivateKey,
    *,
    authority: bool,
) -> x509.Certificate:
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _YEARS)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, **usage),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuing.public_key()), critical=False)
    )
    if not authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(issuing, hashes.SHA256())


def _put(file: Path, data: bytes) -> None:
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as opened:
        opened.write(data)


def _kind(data: bytes) -> str:
    return next((kind for magic, kind in _MAGIC if data.startswith(magic)), "")


def _last_word(source: str) -> str:
    """IPTC's, without the address of its list."""
    return source.rpartition("/")[2]


def _line(text: object) -> str:
    return " ".join(str(text or "").split())[:200]
