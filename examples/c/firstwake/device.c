#include "device.h"

#include <string.h>

#include "sha1.h"

/* --- the code --------------------------------------------------------------- */

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool activation_code(const char *secret_hex, const char *serial, char code[CODE_LENGTH + 1]) {
    static const char digits[] = "0123456789abcdef";
    uint8_t secret[SHA1_LENGTH], digest[SHA1_LENGTH];

    /* The key is the secret's 20 bytes. Its 40 characters, as they are, give
     * another code, and everybody tries that first. */
    if (strlen(secret_hex) != 2 * sizeof secret) return false;
    for (unsigned i = 0; i < sizeof secret; i++) {
        int high = hex_digit(secret_hex[2 * i]), low = hex_digit(secret_hex[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        secret[i] = (uint8_t)(high << 4 | low);
    }
    hmac_sha1(secret, sizeof secret, serial, strlen(serial), digest);
    for (unsigned i = 0; i < sizeof digest; i++) {
        code[2 * i] = digits[digest[i] >> 4];
        code[2 * i + 1] = digits[digest[i] & 15];
    }
    code[CODE_LENGTH] = 0;
    return true;
}

/* --- what is said and heard --------------------------------------------------- */

void response_topic(const char *serial, char topic[TOPIC_MAX + 1]) {
    char *end = topic;
    memcpy(end, "provision/", 10);
    end += 10;
    for (unsigned i = 0; i < SERIAL_MAX && serial[i]; i++) {
        if (serial[i] == '+') { /* It would be a wildcard. */
            memcpy(end, "%2B", 3);
            end += 3;
        } else {
            *end++ = serial[i];
        }
    }
    memcpy(end, "/response", 10);
}

enum outcome connack_outcome(int code) {
    switch (code) {
    case 0: return OUTCOME_DONE;
    case 4: return OUTCOME_UNKNOWN;
    case 5: return OUTCOME_STOP;
    default: return OUTCOME_LATER;
    }
}

enum outcome http_outcome(int status) {
    if (status == 200) return OUTCOME_DONE;
    if (status == 401 || status == 404) return OUTCOME_UNKNOWN;
    if (status == 429 || status < 100 || status >= 500) return OUTCOME_LATER;
    return OUTCOME_STOP;
}

static bool is_of_key(char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c == '-';
}

/* The answer is compact and its fields are in order, so this needs no parser:
 * {"apikey":"…","feed_id":123456,"datastreams":[…]} */
bool credentials_of(const char *answer, struct credentials *found) {
    static const char before_key[] = "{\"apikey\":\"", before_feed[] = "\",\"feed_id\":";
    unsigned length = 0;
    uint32_t feed = 0;

    if (strncmp(answer, before_key, sizeof before_key - 1) != 0) return false;
    answer += sizeof before_key - 1;
    for (; is_of_key(answer[length]); length++) {
        if (length == KEY_LENGTH) return false;
        found->key[length] = answer[length];
    }
    if (length != KEY_LENGTH) return false;
    found->key[KEY_LENGTH] = 0;
    answer += KEY_LENGTH;
    if (strncmp(answer, before_feed, sizeof before_feed - 1) != 0) return false;
    for (answer += sizeof before_feed - 1; *answer >= '0' && *answer <= '9'; answer++) {
        if (feed > INT32_MAX / 10) return false;
        feed = 10 * feed + (uint32_t)(*answer - '0');
    }
    found->feed = feed;
    return feed > 0 && feed <= INT32_MAX && *answer == ',';
}

/* --- what is kept ------------------------------------------------------------- */

/* A slot: "FW1", how often credentials were written (of two slots the higher
 * one counts), feed, key, zeros, checksum. Numbers have their low byte first. */
enum { AT_COUNT = 4, AT_FEED = 8, AT_KEY = 12, AT_CHECKSUM = SLOT_LENGTH - 4 };
static const uint8_t MAGIC[4] = {'F', 'W', '1', 0};

static void put(uint8_t *at, uint32_t number) {
    for (unsigned i = 0; i < 4; i++) at[i] = (uint8_t)(number >> 8 * i);
}

static uint32_t number_at(const uint8_t *at) {
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* The first four bytes of the SHA-1 of what is before it. */
static uint32_t checksum(const uint8_t bytes[SLOT_LENGTH]) {
    struct sha1 hash;
    uint8_t digest[SHA1_LENGTH];
    sha1_begin(&hash);
    sha1_add(&hash, bytes, AT_CHECKSUM);
    sha1_end(&hash, digest);
    return number_at(digest);
}

/* How often had been written when this slot was; 0 if it is empty or torn. */
static uint32_t written(const struct board *board, unsigned slot, uint8_t bytes[SLOT_LENGTH]) {
    if (!board->read_slot(board->own, slot, bytes)) return 0;
    if (memcmp(bytes, MAGIC, sizeof MAGIC) != 0) return 0;
    if (number_at(bytes + AT_CHECKSUM) != checksum(bytes)) return 0;
    return number_at(bytes + AT_COUNT);
}

/* The slot with the newest credentials, and their count: 0 if there are none. */
static uint32_t newest(const struct board *board, unsigned *slot, uint8_t bytes[SLOT_LENGTH]) {
    uint32_t first = written(board, 0, bytes);
    uint32_t second = written(board, 1, bytes);
    *slot = second > first;
    return *slot ? second : written(board, 0, bytes);
}

static bool load(const struct board *board, struct credentials *known) {
    uint8_t bytes[SLOT_LENGTH];
    unsigned slot;
    if (newest(board, &slot, bytes) == 0) return false;
    known->feed = number_at(bytes + AT_FEED);
    memcpy(known->key, bytes + AT_KEY, KEY_LENGTH);
    known->key[KEY_LENGTH] = 0;
    return true;
}

/* Into the other slot than the newest one's, and read again: a power cut leaves
 * the old credentials or the new ones, whole. */
static bool store(const struct board *board, const struct credentials *known) {
    uint8_t bytes[SLOT_LENGTH], back[SLOT_LENGTH];
    unsigned slot;
    uint32_t count = newest(board, &slot, bytes);
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, MAGIC, sizeof MAGIC);
    put(bytes + AT_COUNT, count + 1);
    put(bytes + AT_FEED, known->feed);
    memcpy(bytes + AT_KEY, known->key, KEY_LENGTH);
    put(bytes + AT_CHECKSUM, checksum(bytes));
    slot = count == 0 ? 0 : !slot;
    return board->write_slot(board->own, slot, bytes) && board->read_slot(board->own, slot, back) &&
           memcmp(bytes, back, sizeof bytes) == 0;
}

/* --- a device's life ------------------------------------------------------------ */

void device_begin(struct device *device, const struct board *board) {
    device->board = board;
    device->failures = 0;
    device->is_known = load(board, &device->known);
}

static enum outcome first_time(struct device *device) {
    const struct board *board = device->board;
    char answer[ANSWER_MAX];
    enum outcome outcome = board->activate(board->own, device->code, answer);
    if (outcome != OUTCOME_DONE) return outcome;
    if (!credentials_of(answer, &device->known)) return OUTCOME_LATER;
    /* Before the key is used, as its first use is what spends the code. */
    if (!store(board, &device->known)) {
        board->tell(board->own, "the credentials cannot be kept", 0);
        return OUTCOME_BROKEN;
    }
    device->is_known = true;
    board->tell(board->own, "activated: feed", device->known.feed);
    return OUTCOME_DONE;
}

enum outcome device_try(struct device *device) {
    const struct board *board = device->board;
    enum outcome outcome = device->is_known ? OUTCOME_DONE : first_time(device);
    bool came_with_a_key = device->is_known;
    if (outcome == OUTCOME_DONE) outcome = board->send(board->own, &device->known);
    switch (outcome) {
    case OUTCOME_DONE:
        device->failures = 0;
        board->tell(board->own, "sent a value to feed", device->known.feed);
        break;
    case OUTCOME_LATER:
        board->tell(board->own, "the server is away or busy, or its answer was lost", 0);
        break;
    case OUTCOME_UNKNOWN:
        if (came_with_a_key) {
            /* Where an operator has reset the device, its code works again.
             * What is kept stays until there is another answer. */
            board->tell(board->own, "the server knows no such key", 0);
            device->is_known = false;
        } else {
            board->tell(board->own,
                        "the server knows no such serial and code: are both right, and was the code made from the "
                        "secret's bytes?",
                        0);
        }
        break;
    case OUTCOME_STOP:
        board->tell(board->own,
                    "refused, and asking again will not help: the code is spent, or the device suspended or revoked. "
                    "Tell an operator.",
                    0);
        break;
    case OUTCOME_BROKEN:
        break;
    }
    return outcome;
}

/* Full jitter: a fleet that lost its server must not come back in step. */
uint32_t device_wait(struct device *device) {
    uint32_t ceiling = device->failures < 6 ? (uint32_t)1000 << device->failures : 60000;
    uint32_t wait = device->board->draw(device->board->own) % (ceiling + 1);
    device->failures++;
    device->board->tell(device->board->own, "next try in milliseconds:", wait);
    return wait;
}
