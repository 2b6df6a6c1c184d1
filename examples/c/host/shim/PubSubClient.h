/* See Arduino.h. */
#include "Arduino.h"

struct PubSubClient {
    explicit PubSubClient(Client &client);
    PubSubClient &setServer(const char *host, uint16_t port);
    PubSubClient &setCallback(void (*callback)(char *, uint8_t *, unsigned int));
    bool setBufferSize(uint16_t size);
    bool connect(const char *id, const char *user, const char *password);
    bool subscribe(const char *topic, uint8_t qos);
    bool publish(const char *topic, const char *payload);
    bool loop();
    bool connected();
    int state();
    void disconnect();
};
