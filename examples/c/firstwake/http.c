#include "http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool fits(int length) {
    return length > 0 && length < REQUEST_MAX;
}

bool http_activate(const char *host, const char *code, char request[REQUEST_MAX]) {
    return fits(snprintf(request, REQUEST_MAX, "GET /v2/devices/%s/activate.json HTTP/1.0\r\nHost: %s\r\n\r\n", code,
                         host));
}

bool http_send(const char *host, const struct credentials *known, const char *datastream, const char *value,
               char request[REQUEST_MAX]) {
    return fits(snprintf(request, REQUEST_MAX,
                         "PUT /v2/feeds/%lu.csv HTTP/1.0\r\nHost: %s\r\nX-ApiKey: %s\r\n"
                         "Content-Type: text/csv\r\nContent-Length: %u\r\n\r\n%s,%s",
                         (unsigned long)known->feed, host, known->key,
                         (unsigned)(strlen(datastream) + 1 + strlen(value)), datastream, value));
}

enum outcome http_reply(const char *reply, const char **body) {
    const char *end = strstr(reply, "\r\n\r\n");
    if (strncmp(reply, "HTTP/1.", 7) != 0 || strlen(reply) < 12 || end == NULL) return OUTCOME_LATER;
    *body = end + 4;
    /* Of a 403, the words say which of two it is. */
    if (strstr(*body, "too many requests") != NULL) return OUTCOME_LATER;
    return http_outcome(atoi(reply + 9));
}
