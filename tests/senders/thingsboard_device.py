"""A device, or a gateway, by tb-mqtt-client, told what to do by lines of JSON on its input.

{"do": "connect", "kind": "device" or "gateway", "port": …, "username": …, "password": …}
{"do": "call", "method": …, "arguments": […]}       waits for the acknowledgement of what it has published
{"do": "ask"}                                       asks for attributes, and says the answer
{"do": "disconnect"}
"""

import json
import sys
import threading
import time

from tb_device_mqtt import TBDeviceMqttClient
from tb_gateway_mqtt import TBGatewayMqttClient

KINDS = {"device": TBDeviceMqttClient, "gateway": TBGatewayMqttClient}


ONE_AT_A_TIME = threading.Lock()


def say(**facts):
    with ONE_AT_A_TIME:
        print(json.dumps(facts), flush=True)


def connect(told):
    client = KINDS[told["kind"]]("127.0.0.1", told["port"], told.get("username"), told.get("password"))
    client.connect()  # its callback is set after the connection is begun, and may come too late
    until_s = time.monotonic() + told.get("patience_s", 60)
    while not client.is_connected() and time.monotonic() < until_s:
        time.sleep(0.05)
    say(connected=client.is_connected())
    return client


def call(client, told):
    sent = getattr(client, told["method"])(*told["arguments"])
    say(sent=told["method"], code=None if sent is None else sent.get())


def ask(client):
    answered = threading.Event()
    answers = []

    def take(*answer):
        answers.append(answer[0])
        answered.set()

    client.request_attributes(["a"], ["b"], take)
    say(answered=answered.wait(60), answer=answers)


def main():
    client = None
    for line in sys.stdin:
        told = json.loads(line)
        match told["do"]:
            case "connect":
                client = connect(told)
            case "call":
                call(client, told)
            case "ask":
                ask(client)
                say(limits=client.rate_limits_received)
            case "disconnect":
                client.disconnect()
                client.stop()
        say(done=told["do"])


main()
