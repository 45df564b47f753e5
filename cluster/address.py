"""RAY_ADDRESS to a checked one: what cannot be reached, or refuses the token, is said within half a minute."""

import socket

from valence.errors import BadInput

CONNECT_S, ANSWER_S = 8.0, 12.0
ALLOWED = "HOST:6379, the head's own address as its nodes see it, or nothing, for a cluster of this machine's own"


def check_reachable(address: str) -> None:
    """Ask the head of a Ray cluster for its id, with this machine's token.

    Ray's own attempt takes more than a minute and then ends the process.

    Parameters
    ----------
    address : RAY_ADDRESS; "local" and "auto" are Ray's to find.

    Raises
    ------
    BadInput : after at most CONNECT_S and ANSWER_S; names the address, and what was wrong with it.
    """
    if address in ("local", "auto"):
        return
    scheme, _, rest = address.rpartition("://")
    host, _, port = rest.rpartition(":")
    if scheme not in ("", "ray") or not host or not port.isdigit():
        raise BadInput(
            f"RAY_ADDRESS={address}: not the address of a Ray head",
            allowed=ALLOWED,
            do="for a dashboard's address (http://...): ray job submit --address http://... -- python jobs/...",
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise BadInput(
            f"RAY_ADDRESS={address}: cannot be reached: {error}",
            allowed=ALLOWED,
            do="check that the cluster is up and the network lets this machine in; or unset RAY_ADDRESS",
        ) from error
    if not scheme:
        _check_answer(address)


def _check_answer(address: str) -> None:
    import grpc
    from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
    from ray._private.grpc_utils import init_grpc_channel
    from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)  # as ray.init does
    channel = init_grpc_channel(address, options=[("grpc.enable_http_proxy", 0)])
    try:
        head = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel)
        head.GetClusterId(gcs_service_pb2.GetClusterIdRequest(), timeout=ANSWER_S)  # type: ignore[attr-defined]
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.UNAUTHENTICATED:
            raise BadInput(
                f"RAY_ADDRESS={address}: the cluster refuses this machine's token: {error.details()}",
                allowed="the token that the cluster was started with",
                do="set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH to a file of mode 0600 that holds it",
            ) from error
        raise BadInput(
            f"RAY_ADDRESS={address}: what listens there is no Ray head: {error.code().name}: {error.details()}",
            allowed=ALLOWED,
            do="give the port that `ray start --head` said, 6379 where none was chosen",
        ) from error
    finally:
        channel.close()
