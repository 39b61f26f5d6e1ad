"""Connections that can be dropped on purpose.

The one idea: ASGI has no way to break a connection, so the protocol puts its own transport into the scope's state, and
`drop` ends it with a reset, whatever was sent before.
"""

from __future__ import annotations

import socket
import struct
from asyncio import sleep
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


class DroppableProtocol(H11Protocol):
    """HTTP/1.1 whose requests know their transport."""

    def connection_made(self, transport: Any) -> None:
        """Remember the transport for all requests of this connection."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


async def drop(scope: dict[str, Any]) -> None:
    """End the connection of a request with a TCP reset, and return when the server has noticed."""
    transport = scope["state"]["transport"]
    handle = transport.get_extra_info("socket")
    if not transport.is_closing():
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await sleep(0)
