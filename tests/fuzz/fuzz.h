/* fuzz.h - what every fuzz target needs.
 *
 * A target is a promise about any bytes at all: they are refused with a message, or what comes out of them
 * is sound. fuzz_expect() states the second half; the sanitizers watch over the rest.
 */
#ifndef SA2_TESTS_FUZZ_FUZZ_H
#define SA2_TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base/status.h"

/* libFuzzer calls them: the first with every input, the second once before them. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static inline void fuzz_expect(bool promise, const char *what)
{
    if (promise)
        return;
    fprintf(stderr, "broken promise: %s\n", what);
    abort();
}

/* A copy of exact size, aligned to 64 bytes as a mapped file is, so that reading too far is seen. */
static inline void *fuzz_copy(const uint8_t *data, size_t n)
{
    void *copy = NULL;
    fuzz_expect(posix_memalign(&copy, 64, n > 0 ? n : 1) == 0, "memory for the input");
    if (n > 0)
        memcpy(copy, data, n);
    return copy;
}

/* A failure says what failed. */
static inline void fuzz_expect_message(sa2_status st, const sa2_error *err)
{
    fuzz_expect(st == SA2_OK || (err->message[0] != '\0' && err->status != SA2_OK),
                "a refusal with a message");
}

#endif
