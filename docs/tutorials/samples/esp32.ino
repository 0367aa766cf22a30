#include <MQTT.h>
#include <WiFi.h>
#include <WiFiClientSecure.h>
#include <time.h>

const char *WIFI = "your network", *WIFI_PASSWORD = "its password";
const char *HOST = "192.168.1.10";  // the gateway, as its certificate calls it
const int PORT = 8883;
const char *DEVICE = "kettle-1", *PASSWORD = "what careloop devices add has printed";
const char *CA = R"(-----BEGIN CERTIFICATE-----
paste ca.pem here
-----END CERTIFICATE-----)";

struct Reading {
  long long ts_ms;
  unsigned long seq;
  float temperature;
  int rssi;
};

const int ROOM = 240;  // readings that wait: four hours without a network
Reading waiting[ROOM];
int first = 0, count = 0;
unsigned long seq = 0;

WiFiClientSecure network;
MQTTClient mqtt(512);
String status = String("devices/") + DEVICE + "/status";
String telemetry = String("devices/") + DEVICE + "/telemetry";

void setup() {
  Serial.begin(115200);
  WiFi.begin(WIFI, WIFI_PASSWORD);
  while (WiFi.status() != WL_CONNECTED) delay(250);
  // The time, for the readings and because a certificate is valid from one day to another.
  configTime(0, 0, "pool.ntp.org");
  while (time(nullptr) < 1700000000) delay(250);
  network.setCACert(CA);
  mqtt.begin(HOST, PORT, network);
  mqtt.setOptions(60, true, 10000);  // keep-alive in s, clean session, how long to wait for an answer in ms
  mqtt.setWill(status.c_str(), "offline", false, 1);  // said by the gateway when the connection breaks
}

void take() {
  if (count == ROOM) { first = (first + 1) % ROOM; count--; }  // no room: the oldest goes
  Reading &reading = waiting[(first + count++) % ROOM];
  reading.ts_ms = 1000LL * time(nullptr);
  reading.seq = ++seq;
  reading.temperature = analogReadMilliVolts(34) / 10.0;  // an LM35 on pin 34: 10 mV a degree
  reading.rssi = WiFi.RSSI();
}

bool tell(const Reading &reading) {
  char text[160];
  snprintf(text, sizeof text, "{\"ts\":%lld,\"seq\":%lu,\"metrics\":{\"temperature\":%.1f,\"rssi\":%d}}",
           reading.ts_ms, reading.seq, reading.temperature, reading.rssi);
  return mqtt.publish(telemetry.c_str(), text, false, 1);  // QoS 1: true when the gateway has acknowledged it
}

void loop() {
  static unsigned long last_ms = 0, tried_ms = 0;
  if (seq == 0 || millis() - last_ms >= 60000) {
    last_ms = millis();
    take();
  }
  if (!mqtt.connected()) {
    if (tried_ms != 0 && millis() - tried_ms < 5000) return;
    tried_ms = millis();
    if (!mqtt.connect(DEVICE, DEVICE, PASSWORD)) {
      Serial.printf("no connection: %d, %d\n", mqtt.lastError(), mqtt.returnCode());
      return;
    }
    mqtt.publish(status.c_str(), "online", false, 1);
  }
  mqtt.loop();
  if (count > 0 && tell(waiting[first])) {  // forgotten when it is stored, and not before
    first = (first + 1) % ROOM;
    count--;
  }
  delay(10);
}
