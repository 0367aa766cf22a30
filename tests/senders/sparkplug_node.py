"""An edge node by pysparkplug, told what to do by lines of JSON on its input; it says on its output what it hears.

{"do": "connect", "host": …, "port": …, "username": …, "password": …, "group": …, "edge": …, "metrics": {…},
 "devices": {"device": {"metric": [type, value]}}, "aliases": true}
{"do": "update", "metrics": {…}} · {"do": "update", "device": …, "metrics": {…}} · {"do": "skip"}
{"do": "rebirth"} · {"do": "deregister", "device": …} · {"do": "disconnect"} · {"do": "vanish"}
"""

import json
import os
import sys
import threading
import time

import pysparkplug as psp

ONE_AT_A_TIME = threading.Lock()


def say(**facts):
    with ONE_AT_A_TIME:
        print(json.dumps(facts), flush=True)


class Node:
    """pysparkplug's edge node, with aliases, which it can send but does not assign."""

    def __init__(self, told):
        self.aliases = told.get("aliases", False)
        self.numbers = {}
        self.ts = 0
        self.born_as = None  # the bdSeq of this connection, which a rebirth repeats
        self.client = psp.Client(
            client_id=told.get("client_id", told["edge"]), username=told.get("username"), password=told.get("password")
        )
        self.node = psp.EdgeNode(
            told["group"], told["edge"], self.metrics("", told["metrics"]), self.client, cmd_callback=self.commanded
        )
        for name, metrics in told.get("devices", {}).items():
            self.node.register(psp.Device(name, self.metrics(name, metrics)))
        publish = self.client.publish

        def publish_at_qos_1(message, *, include_dtypes=False):
            """Births name metrics and types; data calls them by number, as the specification advises."""
            kind = type(message.payload).__name__
            if kind == "NBirth" and self.born_as is None:
                self.born_as = message.payload.metrics[-1]
            if self.aliases and kind in {"NData", "DData"}:
                device = message.topic.device_id or ""
                object.__setattr__(
                    message.payload, "metrics", tuple(self.short(device, m) for m in message.payload.metrics)
                )
                include_dtypes = False
            message = psp.Message(message.topic, message.payload, psp.QoS.AT_LEAST_ONCE, message.retain)
            publish(message, include_dtypes=include_dtypes)

        self.client.publish = publish_at_qos_1
        self.client._client.on_publish = lambda *_: say(acknowledged=1)
        self.node.connect(told["host"], port=told["port"])

    def metrics(self, device, told):
        self.ts = max(int(time.time() * 1000), self.ts + 1)  # no two messages of one moment
        return [self.metric(device, name, *value) for name, value in told.items()]

    def metric(self, device, name, kind, value):
        alias = self.numbers.setdefault((device, name), len(self.numbers)) if self.aliases else None
        return psp.Metric(self.ts, name, psp.DataType[kind], value=value, alias=alias)

    def short(self, device, metric):
        alias = self.numbers[device, metric.name]
        return psp.Metric(metric.timestamp, None, metric.datatype, value=metric.value, alias=alias)

    def commanded(self, _node, message):
        for metric in message.payload.metrics:
            say(commanded=metric.name, value=metric.value)

    def do(self, told):
        match told["do"]:
            case "update" if "device" in told:
                self.node.update_device(told["device"], self.metrics(told["device"], told["metrics"]))
            case "update":
                self.node.update(self.metrics("", told["metrics"]))
            case "skip":
                next_seq = self.node._seq  # a number that no message bears
                say(skipped=next_seq)
            case "rebirth":
                self.node._bd_seq_metric = self.born_as
                self.client._client.on_connect(self.client._client, None, {}, 0)
            case "deregister":
                self.node.deregister(told["device"])
            case "disconnect":
                self.node.disconnect()
            case "vanish":
                os._exit(0)


def main():
    node = None
    for line in sys.stdin:
        told = json.loads(line)
        if told["do"] == "connect":
            node = Node(told)
        else:
            node.do(told)
        say(done=told["do"])


main()
