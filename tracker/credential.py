"""Who one is in a fleet: a folder with a private key, its certificate, and the fleet's authority.

A certificate names its holder: ``tracker``, ``coordinator``, or the key of a device, which always has a dot.
The TLS is Python's, the certificates are standard: `docs/security.md` says what each holder may do.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

from tracker.access import COORDINATOR, TRACKER
from tracker.device import DeviceKey
from tracker.errors import TrackerError

KEY: Final = "key.pem"
CERTIFICATE: Final = "certificate.pem"
AUTHORITY: Final = "authority.pem"
"""The authority's certificate, and the list of what it has revoked."""
CREDENTIAL_LIFE: Final = timedelta(days=365)
URI_HOST: Final = "fleet.blinknet.internal"
"""What an authority may certify is below this name, which no public one can be."""
_URI: Final = f"blinknet://{URI_HOST}/"
_READ_BY_OTHERS: Final = 0o077


class StrangerError(ssl.SSLError):
    """The peer's certificate is good, but somebody else's."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What a tracker, a device or a coordinator proves itself with."""

    folder: Path
    holder: str
    ends: datetime

    @classmethod
    def open(cls, folder: Path) -> Credential:
        """Looks at the folder's files; raises TrackerError where they cannot be used."""
        for name in (KEY, CERTIFICATE, AUTHORITY):
            if not (folder / name).is_file():
                raise TrackerError(f"{folder} is no credential: it has no {name}; {_MAKE}")
        if (folder / KEY).stat().st_mode & _READ_BY_OTHERS:
            raise TrackerError(f"others can read {folder / KEY}; `chmod 600 {folder / KEY}`")
        return cls(folder, *_own(folder / CERTIFICATE))

    def of(self, *holders: str) -> Credential:
        """Itself where it is one of these; raises TrackerError for another's and for an expired one."""
        if self.holder not in holders:
            wanted = " or ".join(holders)
            raise TrackerError(f"{self.folder} is the credential of {self.holder}, not of {wanted}; {_MAKE}")
        if self.ends < datetime.now(UTC):
            raise TrackerError(
                f"{self.folder} has expired on {self.ends:%Y-%m-%d}; renew it with "
                f"`blinknet fleet add DIR {self.holder} --renew`"
            )
        return self

    def server_context(self) -> ssl.SSLContext:
        """For accepting peers; files that change are read anew with each of them."""
        context = self._context(ssl.PROTOCOL_TLS_SERVER)
        context.num_tickets = 0  # A resumed session would not look at revocations again.
        return context

    def client_context(self) -> ssl.SSLContext:
        """For one connection."""
        context = self._context(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False  # The holder is what counts, see ``verify_holder``.
        return context

    def _context(self, protocol: int) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT | ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
        try:
            context.load_cert_chain(self.folder / CERTIFICATE, self.folder / KEY)
            context.load_verify_locations(self.folder / AUTHORITY)
        except OSError as error:  # ssl.SSLError is one.
            raise TrackerError(f"the credential {self.folder} cannot be used ({error}); {_MAKE}") from error
        return context


_MAKE: Final = "`blinknet fleet init DIR` and `blinknet fleet add DIR CLASS.UNIT` make credentials"


def check_holder(name: str) -> str:
    """The name as a holder; raises TrackerError for what is neither a role nor a device's key."""
    return name if name in (TRACKER, COORDINATOR) else str(DeviceKey.parse(name))


def is_device(holder: str) -> bool:
    """Whether it is a device's key."""
    return "." in holder


def uri_of(holder: str) -> str:
    """How a certificate names its holder."""
    return _URI + holder


def holder_of(connection: ssl.SSLSocket | ssl.SSLObject) -> str:
    """Whom a peer's certificate, already verified, names; raises StrangerError for none of ours."""
    certificate = cast("Mapping[str, Any]", connection.getpeercert() or {})
    return _holder([value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"])


def verify_holder(connection: ssl.SSLSocket, wanted: str) -> None:
    """Raises StrangerError when the peer is not who was asked for."""
    if (holder := holder_of(connection)) != wanted:
        raise StrangerError(f"its certificate is that of {holder}, not of {wanted}")


def _holder(names: Sequence[str]) -> str:
    if len(names) != 1 or not names[0].startswith(_URI):
        raise StrangerError("its certificate names nobody of a fleet")
    return names[0].removeprefix(_URI)


def _own(certificate: Path) -> tuple[str, datetime]:
    """Holder and end."""
    from cryptography import x509

    try:
        parsed = x509.load_pem_x509_certificate(certificate.read_bytes())
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        holder = _holder(names.get_values_for_type(x509.UniformResourceIdentifier))
        return check_holder(holder), parsed.not_valid_after_utc
    except (ValueError, ssl.SSLError, x509.ExtensionNotFound) as error:
        raise TrackerError(f"{certificate} is no certificate of a fleet ({error}); {_MAKE}") from error


def reason(error: OSError) -> str:
    """Why TLS failed, in few words: what OpenSSL says about the certificate, or its reason."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate does not hold: {error.verify_message}"
    if code := getattr(error, "reason", None):
        return _REASONS.get(code, _words(code))
    return str(error) or type(error).__name__


def _words(text: str) -> str:
    return re.sub(r"^(tlsv1|tlsv13|sslv3) alert ", "it refuses us: ", text.replace("_", " ").lower())


_REASONS: Final = {
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it refuses us: our certificate has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "it refuses us: our certificate was revoked",
    "TLSV1_ALERT_UNKNOWN_CA": "it refuses us: our certificate is of another fleet",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it refuses us: we have no certificate",
}
