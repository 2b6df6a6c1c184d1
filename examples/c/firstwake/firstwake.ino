/* A device on a board: wakes for the first time, keeps its key, sends values.
 *
 * For boards with WiFi.h (ESP32, ESP8266) and the library PubSubClient. On an
 * Ethernet shield, put Ethernet.h and EthernetClient in the places of WiFi.h
 * and WiFiClient. What decides is in device.c; this file is the board.
 *
 * Fill in what is below. The code is burnt in at the factory: a product secret
 * in firmware would make the codes of all devices, and firmware gets out. */
#include <EEPROM.h>
#include <PubSubClient.h>
#include <WiFi.h>

#include "device.h"
#include "http.h"

static const char NETWORK[] = "…", PASSPHRASE[] = "…";
static const char SERVER[] = "192.0.2.1";
static const char SERIAL_NUMBER[] = "0123456789";
static const char CODE[] = "b8b6aacc855a97a92eaa2d2201b5d04a06f204b7";
static const char DATASTREAM[] = "temperature";

#ifndef FIRSTWAKE_OVER_HTTP
#define FIRSTWAKE_OVER_HTTP 0
#endif

static const unsigned long PATIENCE = 30000; /* milliseconds for one answer */
static const unsigned long INTERVAL = 60000; /* milliseconds between values */

/* Plain text: whoever can listen on the way reads the code and the key. Outside
 * of a network that you trust, use WiFiClientSecure with the server's CA here. */
static WiFiClient network;
static PubSubClient mqtt(network);

/* --- what is kept: two slots at the start of the EEPROM ------------------------ */

static bool read_slot(void *, unsigned slot, uint8_t bytes[SLOT_LENGTH]) {
    for (int i = 0; i < SLOT_LENGTH; i++) {
        bytes[i] = EEPROM.read((int)slot * SLOT_LENGTH + i);
    }
    return true;
}

static bool write_slot(void *, unsigned slot, const uint8_t bytes[SLOT_LENGTH]) {
    for (int i = 0; i < SLOT_LENGTH; i++) {
        EEPROM.write((int)slot * SLOT_LENGTH + i, bytes[i]);
    }
    return EEPROM.commit(); /* Boards with a real EEPROM have none, and need none: `return true`. */
}

/* --- MQTT ---------------------------------------------------------------------- */

static const unsigned MQTT_PORT = 1883, HTTP_PORT = 8081;

static char *heard; /* where the answer goes while one is waited for */

static void on_message(char *, byte *payload, unsigned length) {
    if (heard && length < ANSWER_MAX) {
        memcpy(heard, payload, length);
        heard[length] = 0;
        heard = NULL;
    }
}

static enum outcome log_in(const char *password) {
    mqtt.setServer(SERVER, MQTT_PORT);
    mqtt.setBufferSize(ANSWER_MAX + TOPIC_MAX); /* Its own 256 bytes are too few. */
    mqtt.setCallback(on_message);
    if (mqtt.connect(SERIAL_NUMBER, SERIAL_NUMBER, password)) return OUTCOME_DONE;
    /* Below 0 it is the network, above it the CONNACK's code. */
    return mqtt.state() < 0 ? OUTCOME_LATER : connack_outcome(mqtt.state());
}

static enum outcome mqtt_activate(void *, const char *code, char answer[ANSWER_MAX]) {
    char topic[TOPIC_MAX + 1];
    enum outcome outcome = log_in(code);
    if (outcome != OUTCOME_DONE) return outcome;
    response_topic(SERIAL_NUMBER, topic);
    heard = answer;
    mqtt.subscribe(topic, 1);
    for (unsigned long start = millis(); heard && mqtt.connected() && millis() - start < PATIENCE;) {
        mqtt.loop();
        delay(1);
    }
    outcome = heard ? OUTCOME_LATER : OUTCOME_DONE;
    heard = NULL;
    mqtt.disconnect();
    return outcome;
}

static const char *value() {
    static char text[12];
    snprintf(text, sizeof text, "%d", analogRead(A0));
    return text;
}

static enum outcome mqtt_send(void *, const struct credentials *known) {
    char topic[64];
    if (!mqtt.connected()) {
        enum outcome outcome = log_in(known->key);
        if (outcome != OUTCOME_DONE) return outcome;
    }
    snprintf(topic, sizeof topic, "feeds/%lu/data/%s", (unsigned long)known->feed, DATASTREAM);
    return mqtt.publish(topic, value()) ? OUTCOME_DONE : OUTCOME_LATER;
}

/* --- HTTP ---------------------------------------------------------------------- */

static enum outcome ask(const char *request, char reply[REPLY_MAX], const char **body) {
    unsigned length = 0;
    if (!network.connect(SERVER, HTTP_PORT)) return OUTCOME_LATER;
    network.print(request);
    for (unsigned long start = millis(); network.connected() || network.available();) {
        if (millis() - start > PATIENCE || length == REPLY_MAX - 1) {
            network.stop();
            return OUTCOME_LATER;
        }
        if (network.available()) {
            reply[length++] = (char)network.read();
        } else {
            delay(1);
        }
    }
    network.stop();
    reply[length] = 0;
    return http_reply(reply, body);
}

static enum outcome ask_code(void *, const char *code, char answer[ANSWER_MAX]) {
    static char request[REQUEST_MAX], reply[REPLY_MAX];
    const char *body;
    if (!http_activate(SERVER, code, request)) return OUTCOME_BROKEN;
    enum outcome outcome = ask(request, reply, &body);
    if (outcome == OUTCOME_DONE && snprintf(answer, ANSWER_MAX, "%s", body) >= ANSWER_MAX) return OUTCOME_LATER;
    return outcome;
}

static enum outcome put_value(void *, const struct credentials *known) {
    static char request[REQUEST_MAX], reply[REPLY_MAX];
    const char *body;
    if (!http_send(SERVER, known, DATASTREAM, value(), request)) return OUTCOME_BROKEN;
    return ask(request, reply, &body);
}

/* --- the board's life ------------------------------------------------------------ */

static uint32_t draw(void *) {
    return (uint32_t)random(0x7FFFFFFF);
}

static void tell(void *, const char *sentence, uint32_t number) {
    Serial.print(sentence);
    if (number) {
        Serial.print(" ");
        Serial.print(number);
    }
    Serial.println();
}

static const struct board BOARD = {
    NULL, read_slot, write_slot, FIRSTWAKE_OVER_HTTP ? ask_code : mqtt_activate,
    FIRSTWAKE_OVER_HTTP ? put_value : mqtt_send, draw, tell,
};
static struct device device;

void setup() {
    Serial.begin(115200);
    EEPROM.begin(SLOTS * SLOT_LENGTH); /* Not on boards with a real EEPROM. */
    randomSeed(analogRead(A0) ^ micros());
    WiFi.begin(NETWORK, PASSPHRASE);
    memcpy(device.code, CODE, sizeof device.code);
    device_begin(&device, &BOARD);
}

void loop() {
    static unsigned long next = 0; /* when to try again */
    mqtt.loop();
    if ((long)(millis() - next) < 0) return;
    switch (device_try(&device)) {
    case OUTCOME_DONE:
        next = millis() + INTERVAL;
        break;
    case OUTCOME_LATER:
    case OUTCOME_UNKNOWN:
        next = millis() + device_wait(&device);
        break;
    case OUTCOME_STOP:
    case OUTCOME_BROKEN:
        /* A person has to act: an hour later it may be done. */
        next = millis() + 3600000UL;
        break;
    }
}
