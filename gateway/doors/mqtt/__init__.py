"""MQTT 3.1.1 and 5, the server's side and the client's, as bytes in and bytes out: no sockets, no clocks."""
