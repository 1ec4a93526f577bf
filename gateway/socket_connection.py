"""A client's WebSocket: uvicorn's own protocol, with an end for clients that take nothing, and for the gateway's.

Messages are passed on as bytes, whichever kind they are: who reads their JSON finds what is no text.
"""

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from gateway.connection import Limits, Unread

# https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1
SERVER_GOES_AWAY = 1001


class SocketConnection(WebSocketsSansIOProtocol):
    """One WebSocket, once its handshake was read by a `Connection`."""

    def __init__(self, *, limits: Limits, **more: Any) -> None:
        super().__init__(**more)
        self._unread = Unread(limits.unread_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._unread.stop()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread.start(self.transport)

    def resume_writing(self) -> None:
        self._unread.stop()
        super().resume_writing()

    def send_receive_event_to_app(self) -> None:
        self.curr_msg_data_type = "bytes"
        super().send_receive_event_to_app()

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        if self.transport.get_write_buffer_size():
            # It would be waited for until it takes that.
            self.transport.abort()

    def shutdown(self) -> None:
        if not self.handshake_complete or self.close_sent:
            super().shutdown()
            return
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": SERVER_GOES_AWAY})
        self.conn.send_close(SERVER_GOES_AWAY)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.close()
