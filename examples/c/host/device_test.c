/* What the sketch and the host program share, without a server.
 *
 *   device_test VECTORS      tests/vectors/activation-codes.json */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../firstwake/device.h"
#include "../firstwake/http.h"
#include "../firstwake/sha1.h"

static unsigned failed;

static void check(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "FAIL %s\n", what);
        failed++;
    }
}

/* --- SHA-1 and HMAC --------------------------------------------------------- */

static bool is_digest(const uint8_t digest[SHA1_LENGTH], const char *hex) {
    char text[2 * SHA1_LENGTH + 1];
    for (unsigned i = 0; i < SHA1_LENGTH; i++) snprintf(text + 2 * i, 3, "%02x", digest[i]);
    return strcmp(text, hex) == 0;
}

static void check_sha1(const char *message, unsigned repeated, const char *hex) {
    struct sha1 hash;
    uint8_t digest[SHA1_LENGTH];
    sha1_begin(&hash);
    while (repeated--) sha1_add(&hash, message, strlen(message));
    sha1_end(&hash, digest);
    check(is_digest(digest, hex), hex);
}

/* RFC 3174, section 7.3. */
static void rfc_3174(void) {
    check_sha1("abc", 1, "a9993e364706816aba3e25717850c26c9cd0d89d");
    check_sha1("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1, "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    check_sha1("a", 1000000, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    check_sha1("0123456701234567012345670123456701234567012345670123456701234567", 10,
               "dea356a2cddd90c7a7ecedc5ebb563934f460452");
}

static void check_hmac(uint8_t key, size_t key_length, const char *message, size_t length, const char *hex) {
    uint8_t bytes[SHA1_LENGTH * 4], digest[SHA1_LENGTH];
    memset(bytes, key, sizeof bytes);
    hmac_sha1(bytes, key_length, message, length, digest);
    check(is_digest(digest, hex), hex);
}

/* RFC 2202, section 3. */
static void rfc_2202(void) {
    char fifty[50];
    uint8_t counted[25], digest[SHA1_LENGTH];

    check_hmac(0x0b, 20, "Hi There", 8, "b617318655057264e28bc0b6fb378c8ef146be00");
    hmac_sha1("Jefe", 4, "what do ya want for nothing?", 28, digest);
    check(is_digest(digest, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"), "RFC 2202, case 2");
    memset(fifty, 0xdd, sizeof fifty);
    check_hmac(0xaa, 20, fifty, sizeof fifty, "125d7342b9ac11cd91a39af48aa17b4f63f175d3");
    for (uint8_t i = 0; i < sizeof counted; i++) counted[i] = (uint8_t)(i + 1);
    memset(fifty, 0xcd, sizeof fifty);
    hmac_sha1(counted, sizeof counted, fifty, sizeof fifty, digest);
    check(is_digest(digest, "4c9007f4026250c6bc8414f9bf50c86c2d7235da"), "RFC 2202, case 4");
    check_hmac(0x0c, 20, "Test With Truncation", 20, "4c1a03424b55e07fe7f27be1d58bb9324a9a5a04");
    check_hmac(0xaa, 80, "Test Using Larger Than Block-Size Key - Hash Key First", 54,
               "aa4ae5e15272d00e95705637ce8a3b55ed402112");
    check_hmac(0xaa, 80, "Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data", 73,
               "e8e99d0f45237d786d6bbaa7965c7808bbff1a91");
}

/* The shared vectors: one object a line. */
static void vectors(const char *path) {
    char line[512], secret[41], serial[SERIAL_MAX + 1], wanted[41], code[CODE_LENGTH + 1];
    bool should_match = false;
    unsigned tried = 0;
    FILE *file = fopen(path, "r");
    check(file != NULL, path);
    while (file && fgets(line, sizeof line, file)) {
        if (strstr(line, "\"match\"")) should_match = true;
        if (strstr(line, "\"must_not_match\"")) should_match = false;
        if (sscanf(line, " {\"product_secret\": \"%40[^\"]\", \"serial\": \"%64[^\"]\", \"activation_code\": \"%40[^\"]\"",
                   secret, serial, wanted) != 3)
            continue;
        tried++;
        check(activation_code(secret, serial, code) && (strcmp(code, wanted) == 0) == should_match, line);
    }
    check(tried == 6, "six vectors");
    if (file) fclose(file);
}

/* --- what is said and heard ------------------------------------------------- */

#define KEY "abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQRS_4"

static void check_answer(const char *answer, uint32_t feed) {
    struct credentials found;
    bool is_one = credentials_of(answer, &found);
    check(is_one == (feed != 0), answer);
    if (is_one) check(found.feed == feed && strcmp(found.key, KEY) == 0, answer);
}

static void answers(void) {
    check_answer("{\"apikey\":\"" KEY "\",\"feed_id\":129696,\"datastreams\":[\"temperature\"]}", 129696);
    check_answer("{\"apikey\":\"" KEY "\",\"feed_id\":2147483647,\"datastreams\":[]}", 2147483647);
    check_answer("{\"apikey\":\"" KEY "\",\"feed_id\":2147483648,\"datastreams\":[]}", 0);
    check_answer("{\"apikey\":\"" KEY "\",\"feed_id\":99999999999,\"datastreams\":[]}", 0);
    check_answer("{\"apikey\":\"" KEY "\",\"feed_id\":12", 0); /* cut off */
    check_answer("{\"apikey\":\"" KEY "x\",\"feed_id\":1,\"datastreams\":[]}", 0);
    check_answer("{\"apikey\":\"short\",\"feed_id\":1,\"datastreams\":[]}", 0);
    check_answer("{\"error\":{\"code\":\"code_spent\",\"message\":\"\"}}", 0);
    check_answer("", 0);
}

static void topics(void) {
    char topic[TOPIC_MAX + 1], serial[SERIAL_MAX + 1];
    response_topic("a+b", topic);
    check(strcmp(topic, "provision/a%2Bb/response") == 0, topic);
    memset(serial, '+', SERIAL_MAX);
    serial[SERIAL_MAX] = 0;
    response_topic(serial, topic);
    check(strlen(topic) == TOPIC_MAX, topic);
}

static void replies(void) {
    const char *body = NULL;
    check(http_reply("HTTP/1.0 200 OK\r\nA: b\r\n\r\n{}", &body) == OUTCOME_DONE && strcmp(body, "{}") == 0, "200");
    check(http_reply("HTTP/1.1 403 Forbidden\r\n\r\n", &body) == OUTCOME_STOP, "403");
    check(http_reply("HTTP/1.1 403 Forbidden\r\n\r\n{\"errors\":\"too many requests\"}", &body) == OUTCOME_LATER,
          "403 for haste");
    check(http_reply("HTTP/1.1 404 Not Found\r\n\r\n", &body) == OUTCOME_UNKNOWN, "404");
    check(http_reply("HTTP/1.1 503 Busy\r\n\r\n", &body) == OUTCOME_LATER, "503");
    check(http_reply("HTTP/1.1 200 OK\r\nhalf a", &body) == OUTCOME_LATER, "half a reply");
    check(http_reply("", &body) == OUTCOME_LATER, "no reply");
}

/* --- a device's life, on a board of paper ----------------------------------- */

struct paper {
    uint8_t slots[SLOTS][SLOT_LENGTH];
    unsigned torn_at; /* the power fails after so many bytes of a slot */
    unsigned asked;
    enum outcome says;
};

static bool read_slot(void *own, unsigned slot, uint8_t bytes[SLOT_LENGTH]) {
    memcpy(bytes, ((struct paper *)own)->slots[slot], SLOT_LENGTH);
    return true;
}

static bool write_slot(void *own, unsigned slot, const uint8_t bytes[SLOT_LENGTH]) {
    struct paper *paper = own;
    memcpy(paper->slots[slot], bytes, paper->torn_at);
    return paper->torn_at == SLOT_LENGTH;
}

/* Feeds count up, so that one can see whose credentials are kept. */
static enum outcome activate(void *own, const char *code, char answer[ANSWER_MAX]) {
    struct paper *paper = own;
    (void)code;
    snprintf(answer, ANSWER_MAX, "{\"apikey\":\"" KEY "\",\"feed_id\":%u,\"datastreams\":[]}", ++paper->asked);
    return OUTCOME_DONE;
}

static enum outcome send_value(void *own, const struct credentials *known) {
    (void)known;
    return ((struct paper *)own)->says;
}

static uint32_t draw(void *own) {
    (void)own;
    return UINT32_MAX;
}

static void tell(void *own, const char *sentence, uint32_t number) {
    (void)own, (void)sentence, (void)number;
}

/* The feed of what a device finds when it wakes; 0 for nothing. */
static uint32_t kept(const struct board *board) {
    struct device device;
    device_begin(&device, board);
    return device.is_known ? device.known.feed : 0;
}

static void life(void) {
    struct paper paper;
    struct device device;
    struct board board = {&paper, read_slot, write_slot, activate, send_value, draw, tell};

    memset(&paper, 0xFF, sizeof paper); /* as flash is when it is new */
    paper.asked = 0;
    paper.torn_at = SLOT_LENGTH;
    paper.says = OUTCOME_DONE;
    device_begin(&device, &board);
    check(!device.is_known, "nothing is kept at first");
    check(device_try(&device) == OUTCOME_DONE && kept(&board) == 1, "the first time");
    check(device_try(&device) == OUTCOME_DONE && paper.asked == 1, "the second time asks for nothing");

    paper.says = OUTCOME_UNKNOWN;
    check(device_try(&device) == OUTCOME_UNKNOWN && kept(&board) == 1, "a key that is nobody's stays until there is another");
    paper.says = OUTCOME_STOP;
    check(device_try(&device) == OUTCOME_STOP && kept(&board) == 2, "the code again, and what came is kept");

    /* Whatever moment the power fails at, the old ones or the new ones are whole. */
    for (unsigned bytes = 0; bytes <= SLOT_LENGTH; bytes++) {
        struct paper before = paper;
        device_begin(&device, &board);
        device.is_known = false;
        paper.torn_at = bytes;
        enum outcome outcome = device_try(&device);
        uint32_t feed = kept(&board);
        check(feed == 2 || feed == 3, "old or new");
        check(bytes == SLOT_LENGTH ? outcome == OUTCOME_STOP && feed == 3 : outcome == OUTCOME_BROKEN,
              "a key is used only if it is kept");
        paper = before;
    }

    device.failures = 0;
    for (unsigned i = 0; i < 40; i++) check(device_wait(&device) <= 60000, "a wait has an upper bound");
}

int main(int count, char **arguments) {
    if (count != 2) {
        fputs("usage: device_test VECTORS\n", stderr);
        return 2;
    }
    rfc_3174();
    rfc_2202();
    vectors(arguments[1]);
    answers();
    topics();
    replies();
    life();
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
