"""Salesforce's outbound messages: SOAP with up to a hundred notifications, each with a record as it stands now.

They come more than once and out of order, for up to a day, until the answer says ``Ack``. They are not signed: a secret
in the address, and a client certificate at the proxy, tell them from a stranger's. Source:
https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/sforce_api_om_outboundmessaging_notifications.htm
"""

from collections.abc import Sequence
from typing import Final
from xml.etree import ElementTree as ET

from crm_sync.adapters.contract import Acknowledgement, Hook, RecordChange
from crm_sync.adapters.rest.documents import local_name, parse_xml
from crm_sync.adapters.rest.reading import RestInbound

_ACK: Final = (
    b'<?xml version="1.0" encoding="UTF-8"?>'
    b'<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
    b'<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>true</Ack></notificationsResponse>'
    b"</soapenv:Body></soapenv:Envelope>"
)
_MOST: Final = 100  # notifications in one message


class OutboundMessages:
    """Believed by the secret in their address; read as the spec's `inbound` reads JSON."""

    acknowledgement: Final = Acknowledgement("text/xml; charset=utf-8", _ACK)

    def __init__(self, inbound: RestInbound) -> None:
        self._inbound = inbound

    def verify(self, hook: Hook, now_s: float) -> str:
        """Believe a message, and name it by its bytes. Raises BadSignature."""
        return self._inbound.verify(hook, now_s)

    def read(self, body: bytes) -> Sequence[RecordChange]:
        """The records in its notifications. Raises ValueError."""
        return self._inbound.changes([_fields(each) for each in _notifications(body)[:_MOST]])


def _notifications(body: bytes) -> list[ET.Element]:
    """Raises ValueError."""
    return [each for each in parse_xml(body).iter() if local_name(each) == "sObject"]


def _fields(record: ET.Element) -> dict[str, str]:
    return {local_name(field): field.text or "" for field in record}
