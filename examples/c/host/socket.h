/* A connection to the server, with a deadline for each step. */
#ifndef FIRSTWAKE_SOCKET_H
#define FIRSTWAKE_SOCKET_H

#include <stdbool.h>
#include <stddef.h>

/* The socket, or -1. */
int connect_to(const char *host, const char *port);
bool send_all(int socket, const void *bytes, size_t length);
/* True once all of them are there. */
bool receive_all(int socket, void *bytes, size_t length);
/* Until the server closes; what came, with a 0 behind it. False if it is too
 * long or the connection broke. */
bool receive_rest(int socket, char *text, size_t room);

#endif
