/* SHA-1 (RFC 3174) and HMAC (RFC 2104) for machines with little memory.
 *
 * For activation codes, where HMAC-SHA1 is what the protocol says. Not for
 * anything new. */
#ifndef FIRSTWAKE_SHA1_H
#define FIRSTWAKE_SHA1_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SHA1_LENGTH 20
#define SHA1_BLOCK 64

struct sha1 {
    uint32_t state[5];
    uint64_t length; /* bytes so far */
    uint8_t block[SHA1_BLOCK];
};

void sha1_begin(struct sha1 *hash);
void sha1_add(struct sha1 *hash, const void *bytes, size_t length);
void sha1_end(struct sha1 *hash, uint8_t digest[SHA1_LENGTH]);

void hmac_sha1(const void *key, size_t key_length, const void *message, size_t message_length,
               uint8_t digest[SHA1_LENGTH]);

#ifdef __cplusplus
}
#endif
#endif
