/* See Arduino.h. */
#include "Arduino.h"

struct WiFiClient : Client {};
struct WiFiClass {
    int begin(const char *network, const char *passphrase);
};
extern WiFiClass WiFi;
