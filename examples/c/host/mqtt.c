#include "mqtt.h"

#include <string.h>

#include "socket.h"

enum { CONNECT = 0x10, CONNACK = 0x20, PUBLISH = 0x30, PUBACK = 0x40, SUBSCRIBE = 0x82, SUBACK = 0x90, DISCONNECT = 0xE0 };
enum { USER_NAME = 0x80, PASSWORD = 0x40, CLEAN_SESSION = 0x02, AT_LEAST_ONCE = 1, KEEP_ALIVE = 60 };

struct packet {
    uint8_t kind;
    size_t length; /* of the body */
    uint8_t body[PACKET_MAX];
    bool too_long;
};

static void put(struct packet *packet, const void *bytes, size_t length) {
    if (length > PACKET_MAX - packet->length) {
        packet->too_long = true;
        return;
    }
    memcpy(packet->body + packet->length, bytes, length);
    packet->length += length;
}

static void put_number(struct packet *packet, unsigned number) {
    uint8_t two[2] = {(uint8_t)(number >> 8), (uint8_t)number};
    put(packet, two, sizeof two);
}

static void put_text(struct packet *packet, const char *text) {
    put_number(packet, (unsigned)strlen(text));
    put(packet, text, strlen(text));
}

static struct packet packet_of(uint8_t kind) {
    struct packet packet;
    memset(&packet, 0, sizeof packet);
    packet.kind = kind;
    return packet;
}

/* In one write: of two small ones, the second would wait for the first one's
 * acknowledgement. */
static bool transmit(int socket, const struct packet *packet) {
    uint8_t bytes[3 + PACKET_MAX] = {packet->kind, (uint8_t)packet->length};
    size_t size = 2;
    if (packet->too_long) return false;
    if (packet->length > 127) { /* Seven bits a byte, the lowest first. */
        bytes[1] = (uint8_t)(packet->length | 128);
        bytes[2] = (uint8_t)(packet->length >> 7);
        size = 3;
    }
    memcpy(bytes + size, packet->body, packet->length);
    return send_all(socket, bytes, size + packet->length);
}

static bool receive(int socket, struct packet *packet) {
    uint8_t byte;
    unsigned shift = 0;
    *packet = packet_of(0);
    if (!receive_all(socket, &packet->kind, 1)) return false;
    do {
        if (shift > 14 || !receive_all(socket, &byte, 1)) return false;
        packet->length |= (size_t)(byte & 127) << shift;
        shift += 7;
    } while (byte & 128);
    return packet->length <= sizeof packet->body && receive_all(socket, packet->body, packet->length);
}

enum outcome mqtt_connect(int socket, const char *serial, const char *password) {
    static const uint8_t version[4] = {4, USER_NAME | PASSWORD | CLEAN_SESSION, 0, KEEP_ALIVE};
    struct packet packet = packet_of(CONNECT);
    put_text(&packet, "MQTT");
    put(&packet, version, sizeof version);
    put_text(&packet, serial); /* the client id */
    put_text(&packet, serial);
    put_text(&packet, password);
    if (!transmit(socket, &packet) || !receive(socket, &packet)) return OUTCOME_LATER;
    if (packet.kind != CONNACK || packet.length != 2) return OUTCOME_LATER;
    return connack_outcome(packet.body[1]);
}

static enum outcome take(int socket, const struct packet *publish, char message[ANSWER_MAX]) {
    size_t start = publish->length < 2 ? publish->length : 2u + (size_t)(publish->body[0] << 8 | publish->body[1]);
    if (publish->kind & 0x06) {
        struct packet puback = packet_of(PUBACK);
        if (start + 2 > publish->length) return OUTCOME_LATER;
        put(&puback, publish->body + start, 2);
        if (!transmit(socket, &puback)) return OUTCOME_LATER;
        start += 2;
    }
    if (start > publish->length || publish->length - start >= ANSWER_MAX) return OUTCOME_LATER;
    memcpy(message, publish->body + start, publish->length - start);
    message[publish->length - start] = 0;
    return OUTCOME_DONE;
}

enum outcome mqtt_first_of(int socket, const char *topic, char message[ANSWER_MAX]) {
    static const uint8_t qos = AT_LEAST_ONCE;
    struct packet packet = packet_of(SUBSCRIBE);
    put_number(&packet, 1); /* the packet id */
    put_text(&packet, topic);
    put(&packet, &qos, 1);
    if (!transmit(socket, &packet)) return OUTCOME_LATER;
    while (receive(socket, &packet)) { /* The message may come before the SUBACK (3.8.4). */
        if ((packet.kind & 0xF0) == PUBLISH) return take(socket, &packet, message);
        if (packet.kind != SUBACK || packet.length != 3 || packet.body[2] > 1) return OUTCOME_LATER;
    }
    return OUTCOME_LATER;
}

enum outcome mqtt_publish(int socket, const char *topic, const char *payload) {
    struct packet packet = packet_of(PUBLISH | AT_LEAST_ONCE << 1);
    put_text(&packet, topic);
    put_number(&packet, 1);
    put(&packet, payload, strlen(payload));
    if (!transmit(socket, &packet) || !receive(socket, &packet)) return OUTCOME_LATER;
    return packet.kind == PUBACK ? OUTCOME_DONE : OUTCOME_LATER;
}

void mqtt_disconnect(int socket) {
    struct packet packet = packet_of(DISCONNECT);
    transmit(socket, &packet);
}
