"""Access tokens: a device's id and password in one word, for clients that send a user name and nothing else.

ThingsBoard's device clients log in with a token as the user name. Ours is ``{device_id}.{password}``, made of what the
registry knows of the device anyway: no further secret exists, and what is counted, throttled and logged of a login is
the device's id, as with a password of its own.
"""

from dataclasses import replace

from devices.ids import is_device_id
from gateway.doors.mqtt.packets import Connect


def without_token(connect: Connect) -> Connect:
    """The same CONNECT, its token taken apart into user name and password, if it has one."""
    if connect.password is not None or not connect.username:
        return connect
    device_id, dot, password = connect.username.partition(".")
    if not dot or not password or not is_device_id(device_id):
        return connect
    return replace(connect, username=device_id, password=password.encode())
