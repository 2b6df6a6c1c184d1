/* As much of MQTT 3.1.1 as a device needs; on a board, PubSubClient does it. */
#ifndef FIRSTWAKE_MQTT_H
#define FIRSTWAKE_MQTT_H

#include "../firstwake/device.h"

/* Packets that are sent and heard fit this. */
#define PACKET_MAX 1024

enum outcome mqtt_connect(int socket, const char *serial, const char *password);
/* Subscribes, and waits for the first message. */
enum outcome mqtt_first_of(int socket, const char *topic, char message[ANSWER_MAX]);
/* Publishes at QoS 1, and waits until the server has it. */
enum outcome mqtt_publish(int socket, const char *topic, const char *payload);
void mqtt_disconnect(int socket);

#endif
