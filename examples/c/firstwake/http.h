/* The two requests of a device's life, as HTTP/1.0: one line, one answer, and
 * the server closes. No chunks and no keep-alive to deal with. */
#ifndef FIRSTWAKE_HTTP_H
#define FIRSTWAKE_HTTP_H

#include "device.h"

#ifdef __cplusplus
extern "C" {
#endif

#define REQUEST_MAX 256
/* A reply with its headers. */
#define REPLY_MAX 1024

/* They write the whole request; false if it does not fit. */
bool http_activate(const char *host, const char *code, char request[REQUEST_MAX]);
bool http_send(const char *host, const struct credentials *known, const char *datastream, const char *value,
               char request[REQUEST_MAX]);

/* What a whole reply means; `body` is where its body begins. */
enum outcome http_reply(const char *reply, const char **body);

#ifdef __cplusplus
}
#endif
#endif
