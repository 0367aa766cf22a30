"""A kettle that reports its temperature every few seconds: HOST PORT DEVICE PASSWORD [HOW MANY TIMES]."""

import json
import math
import queue
import sys
import time

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

if len(sys.argv) < 5:
    sys.exit(__doc__)
host, port, device, password, *times = sys.argv[1:]
acknowledged: queue.Queue[int] = queue.Queue()


def on_connect(client: mqtt.Client, _data: object, _flags: object, reason: ReasonCode, _properties: object) -> None:
    if reason.is_failure:
        print("refused:", reason, flush=True)  # a wrong password, say; it is tried again
    else:
        client.publish(f"devices/{device}/status", "online", qos=1)


def on_publish(_client: mqtt.Client, _data: object, number: int, _reason: object, _properties: object) -> None:
    acknowledged.put(number)


def on_connect_fail(_client: mqtt.Client, _data: object) -> None:
    print("no answer from", host, port, flush=True)


client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=device, protocol=mqtt.MQTTv5)
client.username_pw_set(device, password)
client.will_set(f"devices/{device}/status", "offline", qos=1)  # said by the gateway when the connection breaks
client.on_connect, client.on_connect_fail, client.on_publish = on_connect, on_connect_fail, on_publish
client.reconnect_delay_set(1, 30)
client.connect_async(host, int(port))
client.loop_start()

for number in range(int(times[0]) if times else 10**9):
    temperature = 60 + 35 * math.sin(number / 10)
    reading = {
        "ts": int(time.time() * 1000),
        "metrics": {"temperature": round(temperature, 1), "heating": temperature < 90},
    }
    sent = client.publish(f"devices/{device}/telemetry", json.dumps(reading), qos=1)
    while acknowledged.get() != sent.mid:  # without a connection paho keeps it, and sends it once there is one
        pass
    print("stored", reading, flush=True)
    time.sleep(0 if times else 5)

client.disconnect()
client.loop_stop()
