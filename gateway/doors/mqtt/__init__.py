"""The server's side of MQTT 3.1.1 and 5, as bytes in and bytes out: no sockets, no clocks."""
