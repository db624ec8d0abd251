"""A fleet's private certificate authority: issues credentials and revokes them.

Its folder holds ``authority/`` (the key that is worth keeping offline, the certificate, the list of revoked
serial numbers), ``issued/`` (every certificate there ever was) and a credential for each holder.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tracker.access import COORDINATOR, TRACKER
from tracker.credential import AUTHORITY, CERTIFICATE, CREDENTIAL_LIFE, KEY, URI_HOST, uri_of
from tracker.errors import TrackerError

AUTHORITY_LIFE: Final = timedelta(days=3650)
_BACKDATED: Final = timedelta(days=1)
"""Clocks of boards are late."""
_LONGEST_NAME: Final = 64
_REVOKED: Final = "revoked.pem"
_FILES: Final = (KEY, CERTIFICATE, AUTHORITY)
_PURPOSES: Final = {
    TRACKER: [ExtendedKeyUsageOID.SERVER_AUTH],
    COORDINATOR: [ExtendedKeyUsageOID.CLIENT_AUTH],
}
_DEVICE_PURPOSES: Final = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]


class Authority:
    """An authority that exists in ``folder``; it never overwrites its own key."""

    def __init__(self, folder: Path) -> None:
        """Raises TrackerError where there is none, or where it is damaged."""
        self.folder = folder
        own = folder / "authority"
        try:
            self._key = _read_key(own / KEY)
            self._certificate = x509.load_pem_x509_certificate((own / CERTIFICATE).read_bytes())
            self._revoked = x509.load_pem_x509_crl((own / _REVOKED).read_bytes())
        except (OSError, ValueError, TypeError) as error:
            raise TrackerError(
                f"{folder} has no authority ({error}); `blinknet fleet init {folder}` makes one"
            ) from error

    @classmethod
    def establish(cls, folder: Path) -> Authority:
        """Makes one where there is none; what is there is kept."""
        own = folder / "authority"
        if not own.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            certificate = _authority_certificate(key)
            fresh = _new_folder(own)
            _write_private(fresh / KEY, key)
            (fresh / CERTIFICATE).write_bytes(certificate.public_bytes(Encoding.PEM))
            (fresh / _REVOKED).write_bytes(_revocations(certificate, key, [], 0).public_bytes(Encoding.PEM))
            fresh.rename(own)
        return cls(folder)

    @property
    def ends(self) -> datetime:
        """When the authority's own certificate ends."""
        return self._certificate.not_valid_after_utc

    def has(self, holder: str) -> bool:
        """Whether the holder has a credential."""
        return (self.folder / holder / KEY).exists()

    def issue(self, holder: str, life: timedelta = CREDENTIAL_LIFE) -> Path:
        """A new key and certificate for the holder, in place of what it had; the credential's folder.

        An earlier certificate holds until it ends, or until ``revoke``.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(holder, key, datetime.now(UTC), life)
        fresh = _new_folder(self.folder / holder)
        _write_private(fresh / KEY, key)
        (fresh / CERTIFICATE).write_bytes(certificate.public_bytes(Encoding.PEM))
        (fresh / AUTHORITY).write_bytes(self._bundle())
        self._record(holder, certificate)
        return _moved(fresh, self.folder / holder)

    def revoke(self, holder: str) -> int:
        """Revokes every certificate that the holder ever had and removes its credential; their number.

        Credentials in the folder learn of it; those elsewhere need their ``authority.pem`` replaced.
        """
        known = {each.serial_number for each in self._revoked}
        serials = [each for each in self._issued_to(holder) if each not in known]
        entries = [*self._revoked, *(_entry(serial) for serial in serials)]
        number = self._revoked.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number + 1
        self._revoked = _revocations(self._certificate, self._key, entries, number)
        _replace(self.folder / "authority" / _REVOKED, self._revoked.public_bytes(Encoding.PEM))
        _remove_credential(self.folder / holder)
        for credential in self.folder.glob(f"*/{AUTHORITY}"):
            _replace(credential, self._bundle())
        return len(serials)

    def _record(self, holder: str, certificate: x509.Certificate) -> None:
        issued = self.folder / "issued"
        issued.mkdir(exist_ok=True)
        path = issued / f"{holder}.{certificate.serial_number:x}.pem"
        path.write_bytes(certificate.public_bytes(Encoding.PEM))

    def _issued_to(self, holder: str) -> Iterator[int]:
        for path in (self.folder / "issued").glob(f"{holder}.*.pem"):
            serial = path.name.removeprefix(f"{holder}.").removesuffix(".pem")
            if "." not in serial:  # Not rpi4.unit.2 for rpi4.unit.
                yield int(serial, 16)

    def _bundle(self) -> bytes:
        return self._certificate.public_bytes(Encoding.PEM) + self._revoked.public_bytes(Encoding.PEM)

    def _sign(
        self, holder: str, key: ec.EllipticCurvePrivateKey, start: datetime, life: timedelta
    ) -> x509.Certificate:
        issuer = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri_of(holder))])
        builder = _builder(key, f"BlinkNet {holder}", start, min(start + life, self.ends)).issuer_name(
            self._certificate.subject
        )
        for extension, critical in (
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_key_usage(signs_certificates=False), True),
            (x509.ExtendedKeyUsage(_PURPOSES.get(holder, _DEVICE_PURPOSES)), False),
            (names, False),
            (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), False),
        ):
            builder = builder.add_extension(extension, critical)
        return builder.sign(self._key, hashes.SHA256())


def _authority_certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """For devices' names alone: whoever steals the key cannot pose as a web site."""
    start = datetime.now(UTC)
    builder = _builder(key, "BlinkNet fleet", start, start + AUTHORITY_LIFE)
    constraints = x509.NameConstraints(
        permitted_subtrees=[x509.UniformResourceIdentifier(URI_HOST)],
        excluded_subtrees=[
            x509.DNSName(""),
            x509.IPAddress(ip_network("0.0.0.0/0")),
            x509.IPAddress(ip_network("::/0")),
        ],
    )
    return (
        builder.issuer_name(_name("BlinkNet fleet"))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(constraints, critical=True)
        .sign(key, hashes.SHA256())
    )


def _builder(
    key: ec.EllipticCurvePrivateKey, name: str, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - _BACKDATED)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _revocations(
    authority: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    entries: list[x509.RevokedCertificate],
    number: int,
) -> x509.CertificateRevocationList:
    """Valid as long as the authority: a list that ran out would lock everybody out."""
    identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.subject)
        .last_update(datetime.now(UTC) - _BACKDATED)
        .next_update(authority.not_valid_after_utc)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(issuer, critical=False)
    )
    for entry in entries:
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(key, hashes.SHA256())


def _entry(serial: int) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(serial)
    return builder.revocation_date(datetime.now(UTC) - _BACKDATED).build()


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    """For people. It has a blank, or OpenSSL would take it for a DNS name, which nobody here may have."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:_LONGEST_NAME])])


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path} is no key on an elliptic curve")
    return key


def _write_private(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def _new_folder(place: Path) -> Path:
    """For its owner alone, beside ``place``, to be renamed when it is complete."""
    fresh = place.parent / f".{place.name}.{os.getpid()}"
    fresh.mkdir(0o700, parents=True)
    return fresh


def _replace(path: Path, content: bytes) -> None:
    """At once: a gate may be reading it."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content)
    fresh.replace(path)


def _moved(fresh: Path, place: Path) -> Path:
    """Files of a finished folder in the place of those of the same names."""
    place.mkdir(0o700, exist_ok=True)
    for name in _FILES:
        (fresh / name).replace(place / name)
    fresh.rmdir()
    return place


def _remove_credential(folder: Path) -> None:
    for name in _FILES:
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # Something of the user's is in it, or it was not there.
        folder.rmdir()
