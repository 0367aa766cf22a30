"""A kettle that reports its temperature every few seconds: HOST PORT DEVICE PASSWORD [HOW MANY TIMES]."""

import json
import math
import sys
import time

import paho.mqtt.client as mqtt

host, port, device, password, *times = sys.argv[1:]

client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=device, protocol=mqtt.MQTTv5)
client.username_pw_set(device, password)
client.will_set(f"devices/{device}/status", "offline", qos=1)
client.connect(host, int(port))
client.loop_start()
client.publish(f"devices/{device}/status", "online", qos=1).wait_for_publish(30)

for number in range(int(times[0]) if times else 10**9):
    temperature = 60 + 35 * math.sin(number / 10)
    reading = {
        "ts": int(time.time() * 1000),
        "metrics": {"temperature": round(temperature, 1), "heating": temperature < 90},
    }
    sent = client.publish(f"devices/{device}/telemetry", json.dumps(reading), qos=1)
    sent.wait_for_publish(30)  # careloop has stored it
    print("stored", reading)
    time.sleep(0 if times else 5)

client.disconnect()
client.loop_stop()
