/* A device's life, for any machine with a C compiler.
 *
 * It decides; the board does. It opens no connection, reads no clock and keeps
 * no memory of its own: what it needs of the board is in `struct board`. The
 * sketch and the program in ../host are two boards, and share all of this. */
#ifndef FIRSTWAKE_DEVICE_H
#define FIRSTWAKE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CODE_LENGTH 40
#define KEY_LENGTH 48
#define SERIAL_MAX 64
/* "provision/", a serial of nothing but +, "/response". */
#define TOPIC_MAX (10 + 3 * SERIAL_MAX + 9)
/* The answer, with room for some datastreams. */
#define ANSWER_MAX 512

/* What the device is after its first time. */
struct credentials {
    char key[KEY_LENGTH + 1];
    uint32_t feed;
};

/* What came of talking to the server. */
enum outcome {
    OUTCOME_DONE,
    OUTCOME_LATER,   /* away or busy, or the answer was lost: try again */
    OUTCOME_UNKNOWN, /* no such serial and code, or no such key */
    OUTCOME_STOP,    /* the right code or key, and yet no: tell a person */
    OUTCOME_BROKEN   /* the board's own memory fails it */
};

/* Credentials are kept in two slots, so that the old ones are whole while the
 * new ones are being written. */
#define SLOTS 2
#define SLOT_LENGTH 64

struct board {
    void *own;
    bool (*read_slot)(void *own, unsigned slot, uint8_t bytes[SLOT_LENGTH]);
    /* When it returns true, the bytes survive a power cut. */
    bool (*write_slot)(void *own, unsigned slot, const uint8_t bytes[SLOT_LENGTH]);
    /* Shows the code to the server; its answer, as text that ends with 0. */
    enum outcome (*activate)(void *own, const char *code, char answer[ANSWER_MAX]);
    /* Logs in with the key and sends a value. */
    enum outcome (*send)(void *own, const struct credentials *known);
    /* As random as the board can. */
    uint32_t (*draw)(void *own);
    /* For whoever watches. Never the code, never the key. */
    void (*tell)(void *own, const char *sentence, uint32_t number);
};

struct device {
    const struct board *board;
    char code[CODE_LENGTH + 1];
    struct credentials known;
    bool is_known;
    unsigned failures;
};

/* The code of this serial. The secret is 40 hex characters; false if not. */
bool activation_code(const char *secret_hex, const char *serial, char code[CODE_LENGTH + 1]);

/* Where the answer is published. */
void response_topic(const char *serial, char topic[TOPIC_MAX + 1]);

/* What a CONNACK of MQTT 3.1.1, an HTTP status means. */
enum outcome connack_outcome(int code);
enum outcome http_outcome(int status);

/* The key and the feed id in the server's answer; false if it is none. */
bool credentials_of(const char *answer, struct credentials *found);

/* Reads what is kept; `device->code` is there already. */
void device_begin(struct device *device, const struct board *board);

/* One try: activates first if there is no key yet. Where it comes to
 * OUTCOME_LATER or OUTCOME_UNKNOWN, wait `device_wait` and try again. */
enum outcome device_try(struct device *device);

/* Milliseconds until the next try: more each time, up to a minute. */
uint32_t device_wait(struct device *device);

#ifdef __cplusplus
}
#endif
#endif
