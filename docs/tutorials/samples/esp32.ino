#include <WiFi.h>
#include <PubSubClient.h>

const char* WIFI = "your network", *WIFI_PASSWORD = "its password";
const char* HOST = "192.168.1.10";
const int PORT = 1883;
const char* DEVICE = "kettle-1";
const char* PASSWORD = "what careloop devices add has printed";

WiFiClient network;
PubSubClient mqtt(network);
unsigned long seq = 0;

void setup() {
  Serial.begin(115200);
  WiFi.begin(WIFI, WIFI_PASSWORD);
  while (WiFi.status() != WL_CONNECTED) delay(250);
  mqtt.setServer(HOST, PORT);
  mqtt.setKeepAlive(60);
}

bool reconnect() {
  String status = String("devices/") + DEVICE + "/status";
  // The will: the broker's side tells "offline" when the connection breaks.
  if (!mqtt.connect(DEVICE, DEVICE, PASSWORD, status.c_str(), 1, false, "offline")) return false;
  return mqtt.publish(status.c_str(), "online");
}

void loop() {
  if (!mqtt.connected() && !reconnect()) { delay(5000); return; }
  mqtt.loop();
  static unsigned long last = 0;
  if (millis() - last < 60000) return;
  last = millis();
  float temperature = analogReadMilliVolts(34) / 10.0;  // an LM35 on pin 34: 10 mV a degree
  String reading = String("{\"seq\":") + String(++seq) + ",\"metrics\":{\"temperature\":" + String(temperature, 1) +
                   ",\"rssi\":" + String(WiFi.RSSI()) + "}}";
  mqtt.publish((String("devices/") + DEVICE + "/telemetry").c_str(), reading.c_str());
}
