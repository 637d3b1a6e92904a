"""Whether a server can be reached with a kit, before NVFlare tries, which retries for ever and does not say why.

NVFlare's server speaks TLS and asks for a certificate; both ends trust only those of the federation's authority.
"""

import errno
import socket
import ssl
import time
from collections.abc import Callable

from fedbbpt.errors import FederationError
from fedbbpt.federation.kits import Kit

TIMEOUT = 10.0  # seconds
EXPIRED, NOT_YET_VALID, WRONG_NAME = 10, 9, (62, 64)  # OpenSSL's X509_V_ERR_*
FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0  # seconds between attempts


class Unreachable(FederationError):  # noqa: N818 - reads as what it says
    """Nobody answers: the server may yet be started, or the network come back."""


def check_port_free(host: str, port: int) -> None:
    """Checks that nothing listens where a server is about to: NVFlare would start all the same, and never be reached.

    Raises:
        FederationError: something does, or the port may not be used.
    """
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what a server before this one left behind
        try:
            attempt.bind((host, port))
        except OSError as e:
            if e.errno == errno.EADDRINUSE:
                raise FederationError(
                    f"port {port} is taken by another program: end it, or make the federation with another --port"
                ) from e
            raise FederationError(f"cannot listen on {host} port {port}: {_reason(e)}") from e


def wait_for_server(kit: Kit, tell: Callable[[str], None]) -> None:
    """Waits until the server answers; says once that it does not.

    Raises:
        FederationError: it answers, but is not the kit's server, or does not take the kit.
    """
    wait = FIRST_WAIT
    while True:
        try:
            return check_server(kit)
        except Unreachable as e:
            if wait == FIRST_WAIT:
                tell(f"{str(e)[0].upper()}{str(e)[1:]}; trying again.")
        time.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT)


def answers(kit: Kit) -> bool:
    """Whether the kit's server answers now, and takes the kit."""
    try:
        check_server(kit)
    except FederationError:
        return False
    return True


def check_server(kit: Kit) -> None:
    """Greets the server by TLS with the kit's certificate.

    Raises:
        Unreachable: nobody answers.
        FederationError: whoever answers is not the kit's server, or does not take the kit.
    """
    host, port = kit.description.host, kit.description.port
    address = f"{host}:{port}"
    context = ssl.create_default_context(cafile=kit.root_certificate)
    context.load_cert_chain(kit.certificate, kit.key)
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection((host, port), TIMEOUT) as connection,
            context.wrap_socket(connection, server_hostname=host) as secure,
        ):
            accepted = bool(secure.recv(1))  # with TLS 1.3 the server judges the certificate after the handshake
    except ssl.SSLCertVerificationError as e:
        raise FederationError(f"the server at {address} is not that of this kit: {_not_trusted(e)}") from e
    except ssl.SSLError as e:
        raise FederationError(
            f"what answers at {address} is no federation's server ({_reason(e)}): compare the address with its operator"
        ) from e
    except socket.gaierror as e:
        raise Unreachable(f"no machine called {host} is known") from e
    except OSError as e:
        raise Unreachable(f"the server does not answer at {address} ({_reason(e)})") from e
    if not accepted:
        raise FederationError(
            f"the server at {address} does not take this kit's certificate: compare the clocks of both machines, or "
            "ask its operator for a new kit"
        )


def _not_trusted(error: ssl.SSLCertVerificationError) -> str:
    """Why the server's certificate is not accepted."""
    if error.verify_code == EXPIRED:
        return "its certificate has expired, or this machine's clock is ahead"
    if error.verify_code == NOT_YET_VALID:
        return "its certificate is not valid yet, so this machine's clock is behind: set the clock"
    if error.verify_code in WRONG_NAME:
        return "its certificate is for another host, so the kit names the wrong one: ask its operator for a new kit"
    return "its certificate is from another federation; compare the address with the server's operator"


def _reason(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).lower()
