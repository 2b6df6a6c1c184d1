/* The sketch's life on a computer: the same device.c and http.c, over sockets.
 *
 *   device mqtt://HOST:PORT SERIAL FILE      or http://HOST:PORT
 *
 * FILE stands for the board's flash: both slots, one after the other. The
 * environment variable FIRSTWAKE_CODE holds the activation code, or
 * FIRSTWAKE_SECRET the product secret to compute it from. Exit status: 0 the
 * value has arrived, 1 something here is broken, 2 wrong usage, 3 a person has
 * to act. It speaks no TLS: for loopback only. */
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "../firstwake/device.h"
#include "../firstwake/http.h"
#include "mqtt.h"
#include "socket.h"

#define DATASTREAM "temperature"
#define VALUE "21.5"

struct host {
    char address[128];
    const char *port;
    const char *serial;
    const char *flash;
};

/* --- what is kept ------------------------------------------------------------- */

static bool read_slot(void *own, unsigned slot, uint8_t bytes[SLOT_LENGTH]) {
    const struct host *host = own;
    int file = open(host->flash, O_RDONLY);
    bool whole = file >= 0 && pread(file, bytes, SLOT_LENGTH, (off_t)slot * SLOT_LENGTH) == SLOT_LENGTH;
    if (file >= 0) close(file);
    return whole;
}

/* The directory too: without it, a new file may be gone after a power cut. */
static bool sync_directory_of(const char *path) {
    char copy[4096];
    if (snprintf(copy, sizeof copy, "%s", path) >= (int)sizeof copy) return false;
    int directory = open(dirname(copy), O_RDONLY);
    bool synced = directory >= 0 && fsync(directory) == 0;
    if (directory >= 0) close(directory);
    return synced;
}

static bool write_slot(void *own, unsigned slot, const uint8_t bytes[SLOT_LENGTH]) {
    const struct host *host = own;
    int file = open(host->flash, O_WRONLY | O_CREAT, 0600);
    bool kept = file >= 0 && pwrite(file, bytes, SLOT_LENGTH, (off_t)slot * SLOT_LENGTH) == SLOT_LENGTH &&
                fsync(file) == 0;
    if (file >= 0) close(file);
    return kept && sync_directory_of(host->flash);
}

/* --- MQTT --------------------------------------------------------------------- */

static enum outcome log_in(const struct host *host, const char *password, int *socket) {
    *socket = connect_to(host->address, host->port);
    return *socket < 0 ? OUTCOME_LATER : mqtt_connect(*socket, host->serial, password);
}

static void leave(int socket) {
    if (socket < 0) return;
    mqtt_disconnect(socket);
    close(socket);
}

static enum outcome mqtt_activate(void *own, const char *code, char answer[ANSWER_MAX]) {
    const struct host *host = own;
    char topic[TOPIC_MAX + 1];
    int socket;
    enum outcome outcome = log_in(host, code, &socket);
    response_topic(host->serial, topic);
    if (outcome == OUTCOME_DONE) outcome = mqtt_first_of(socket, topic, answer);
    leave(socket);
    return outcome;
}

static enum outcome mqtt_send(void *own, const struct credentials *known) {
    char topic[64];
    int socket;
    enum outcome outcome = log_in(own, known->key, &socket);
    snprintf(topic, sizeof topic, "feeds/%lu/data/" DATASTREAM, (unsigned long)known->feed);
    if (outcome == OUTCOME_DONE) outcome = mqtt_publish(socket, topic, VALUE);
    leave(socket);
    return outcome;
}

/* --- HTTP --------------------------------------------------------------------- */

static enum outcome ask(const struct host *host, const char *request, char reply[REPLY_MAX], const char **body) {
    int socket = connect_to(host->address, host->port);
    bool whole = socket >= 0 && send_all(socket, request, strlen(request)) && receive_rest(socket, reply, REPLY_MAX);
    if (socket >= 0) close(socket);
    return whole ? http_reply(reply, body) : OUTCOME_LATER;
}

static enum outcome ask_code(void *own, const char *code, char answer[ANSWER_MAX]) {
    const struct host *host = own;
    char request[REQUEST_MAX], reply[REPLY_MAX];
    const char *body;
    if (!http_activate(host->address, code, request)) return OUTCOME_BROKEN;
    enum outcome outcome = ask(host, request, reply, &body);
    if (outcome == OUTCOME_DONE && snprintf(answer, ANSWER_MAX, "%s", body) >= ANSWER_MAX) return OUTCOME_LATER;
    return outcome;
}

static enum outcome put_value(void *own, const struct credentials *known) {
    const struct host *host = own;
    char request[REQUEST_MAX], reply[REPLY_MAX];
    const char *body;
    if (!http_send(host->address, known, DATASTREAM, VALUE, request)) return OUTCOME_BROKEN;
    return ask(host, request, reply, &body);
}

/* --- the program -------------------------------------------------------------- */

static uint32_t draw(void *own) {
    uint32_t number = 0;
    (void)own;
    if (getrandom(&number, sizeof number, 0) != sizeof number) number = (uint32_t)getpid() * 2654435761u;
    return number;
}

static void tell(void *own, const char *sentence, uint32_t number) {
    (void)own;
    if (number) {
        printf("%s %lu\n", sentence, (unsigned long)number);
    } else {
        printf("%s\n", sentence);
    }
    fflush(stdout);
}

/* Cuts SCHEME://HOST:PORT. */
static bool read_url(char *url, struct host *host, struct board *board) {
    char *port = strrchr(url, ':');
    if (strncmp(url, "mqtt://", 7) == 0) {
        board->activate = mqtt_activate;
        board->send = mqtt_send;
    } else if (strncmp(url, "http://", 7) == 0) {
        board->activate = ask_code;
        board->send = put_value;
    } else {
        return false;
    }
    if (port < url + 7) return false;
    *port = 0;
    host->port = port + 1;
    return snprintf(host->address, sizeof host->address, "%s", url + 7) < (int)sizeof host->address;
}

static bool read_code(const char *serial, char code[CODE_LENGTH + 1]) {
    const char *burnt_in = getenv("FIRSTWAKE_CODE"), *secret = getenv("FIRSTWAKE_SECRET");
    if (strlen(serial) > SERIAL_MAX) return false;
    if (burnt_in) return snprintf(code, CODE_LENGTH + 1, "%s", burnt_in) == CODE_LENGTH;
    return secret && activation_code(secret, serial, code);
}

int main(int count, char **arguments) {
    struct host host;
    struct board board = {&host, read_slot, write_slot, NULL, NULL, draw, tell};
    struct device device;

    if (count != 4 || !read_url(arguments[1], &host, &board) || !read_code(arguments[2], device.code)) {
        fputs("usage: device mqtt://HOST:PORT|http://HOST:PORT SERIAL FILE\n"
              "with FIRSTWAKE_CODE or FIRSTWAKE_SECRET in the environment\n",
              stderr);
        return 2;
    }
    host.serial = arguments[2];
    host.flash = arguments[3];
    device_begin(&device, &board);
    for (;;) {
        switch (device_try(&device)) {
        case OUTCOME_DONE: return 0;
        case OUTCOME_STOP: return 3;
        case OUTCOME_BROKEN: return 1;
        case OUTCOME_LATER:
        case OUTCOME_UNKNOWN: {
            uint32_t wait = device_wait(&device);
            struct timespec time = {(time_t)(wait / 1000), (long)(wait % 1000) * 1000000};
            nanosleep(&time, NULL);
        }
        }
    }
}
