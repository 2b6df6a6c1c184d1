#include "sha1.h"

#include <string.h>

static uint32_t rotated(uint32_t word, unsigned bits) {
    return word << bits | word >> (32 - bits);
}

/* RFC 3174, section 6.2: with sixteen words of schedule in place of eighty. */
static void mix(struct sha1 *hash) {
    uint32_t w[16];
    uint32_t a = hash->state[0], b = hash->state[1], c = hash->state[2];
    uint32_t d = hash->state[3], e = hash->state[4];

    for (unsigned i = 0; i < 16; i++) {
        const uint8_t *four = hash->block + 4 * i;
        w[i] = (uint32_t)four[0] << 24 | (uint32_t)four[1] << 16 | (uint32_t)four[2] << 8 | four[3];
    }
    for (unsigned i = 0; i < 80; i++) {
        uint32_t f, k;
        if (i >= 16) {
            w[i & 15] = rotated(w[(i + 13) & 15] ^ w[(i + 8) & 15] ^ w[(i + 2) & 15] ^ w[i & 15], 1);
        }
        if (i < 20) {
            f = (b & c) | (~b & d);
            k = 0x5A827999;
        } else if (i < 40) {
            f = b ^ c ^ d;
            k = 0x6ED9EBA1;
        } else if (i < 60) {
            f = (b & c) | (b & d) | (c & d);
            k = 0x8F1BBCDC;
        } else {
            f = b ^ c ^ d;
            k = 0xCA62C1D6;
        }
        uint32_t next = rotated(a, 5) + f + e + k + w[i & 15];
        e = d;
        d = c;
        c = rotated(b, 30);
        b = a;
        a = next;
    }
    hash->state[0] += a;
    hash->state[1] += b;
    hash->state[2] += c;
    hash->state[3] += d;
    hash->state[4] += e;
}

void sha1_begin(struct sha1 *hash) {
    static const uint32_t start[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    memcpy(hash->state, start, sizeof start);
    hash->length = 0;
}

void sha1_add(struct sha1 *hash, const void *bytes, size_t length) {
    const uint8_t *next = (const uint8_t *)bytes;
    while (length--) {
        hash->block[hash->length++ % SHA1_BLOCK] = *next++;
        if (hash->length % SHA1_BLOCK == 0) {
            mix(hash);
        }
    }
}

void sha1_end(struct sha1 *hash, uint8_t digest[SHA1_LENGTH]) {
    uint64_t bits = hash->length * 8;
    uint8_t length[8];
    for (unsigned i = 0; i < 8; i++) {
        length[i] = (uint8_t)(bits >> (56 - 8 * i));
    }
    sha1_add(hash, "\x80", 1);
    while (hash->length % SHA1_BLOCK != SHA1_BLOCK - sizeof length) {
        sha1_add(hash, "", 1);
    }
    sha1_add(hash, length, sizeof length);
    for (unsigned i = 0; i < SHA1_LENGTH; i++) {
        digest[i] = (uint8_t)(hash->state[i / 4] >> (24 - 8 * (i % 4)));
    }
}

void hmac_sha1(const void *key, size_t key_length, const void *message, size_t message_length,
               uint8_t digest[SHA1_LENGTH]) {
    struct sha1 hash;
    uint8_t pad[SHA1_BLOCK] = {0};

    if (key_length > sizeof pad) {
        sha1_begin(&hash);
        sha1_add(&hash, key, key_length);
        sha1_end(&hash, pad);
    } else {
        memcpy(pad, key, key_length);
    }
    for (unsigned i = 0; i < sizeof pad; i++) {
        pad[i] ^= 0x36;
    }
    sha1_begin(&hash);
    sha1_add(&hash, pad, sizeof pad);
    sha1_add(&hash, message, message_length);
    sha1_end(&hash, digest);

    for (unsigned i = 0; i < sizeof pad; i++) {
        pad[i] ^= 0x36 ^ 0x5C;
    }
    sha1_begin(&hash);
    sha1_add(&hash, pad, sizeof pad);
    sha1_add(&hash, digest, SHA1_LENGTH);
    sha1_end(&hash, digest);
}
