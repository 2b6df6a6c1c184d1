#include "socket.h"

#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* Seconds that the server has for one step. */
#define PATIENCE 30

int connect_to(const char *host, const char *port) {
    struct addrinfo wanted, *found, *one;
    struct timeval patience = {PATIENCE, 0};
    int socket_ = -1;

    memset(&wanted, 0, sizeof wanted);
    wanted.ai_socktype = SOCK_STREAM;
    if (getaddrinfo(host, port, &wanted, &found) != 0) return -1;
    for (one = found; one != NULL && socket_ < 0; one = one->ai_next) {
        socket_ = socket(one->ai_family, one->ai_socktype, one->ai_protocol);
        if (socket_ < 0) continue;
        setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        if (connect(socket_, one->ai_addr, one->ai_addrlen) != 0) {
            close(socket_);
            socket_ = -1;
        }
    }
    freeaddrinfo(found);
    return socket_;
}

bool send_all(int socket, const void *bytes, size_t length) {
    const char *next = bytes;
    while (length > 0) {
        ssize_t sent = send(socket, next, length, MSG_NOSIGNAL);
        if (sent <= 0) return false;
        next += sent;
        length -= (size_t)sent;
    }
    return true;
}

bool receive_all(int socket, void *bytes, size_t length) {
    char *next = bytes;
    while (length > 0) {
        ssize_t got = recv(socket, next, length, 0);
        if (got <= 0) return false;
        next += got;
        length -= (size_t)got;
    }
    return true;
}

bool receive_rest(int socket, char *text, size_t room) {
    while (room > 1) {
        ssize_t got = recv(socket, text, room - 1, 0);
        if (got < 0) return false;
        text += got;
        room -= (size_t)got;
        if (got == 0) {
            *text = 0;
            return true;
        }
    }
    return false;
}
