/* growing.h - arrays of bytes and of token ids that grow as they are written.
 *
 * The length of a text or of a prompt is known only when it is written, so these two own a block
 * of the heap instead of a place in an arena. Zero-initialise one, append, free it. An append that
 * finds no memory sets `failed` and does nothing from then on, so that a writer asks once, at the
 * end.
 */
#ifndef SA2_TOKENIZER_GROWING_H
#define SA2_TOKENIZER_GROWING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/status.h"

typedef struct sa2_bytes {
    char *data; /* NULL before the first append, then with a 0 after the end */
    size_t n;
    size_t room;
    bool failed;
} sa2_bytes;

typedef struct sa2_ids {
    int32_t *data; /* NULL before the first append */
    size_t n;
    size_t room;
    bool failed;
} sa2_ids;

void sa2_bytes_append(sa2_bytes *bytes, const char *data, size_t n);
void sa2_bytes_append_text(sa2_bytes *bytes, const char *text);
void sa2_bytes_clear(sa2_bytes *bytes);             /* to length 0; `failed` stays */
void sa2_bytes_free(sa2_bytes *bytes);              /* back to zero */
const char *sa2_bytes_text(const sa2_bytes *bytes); /* data, or "" */

void sa2_ids_append(sa2_ids *ids, int32_t id);
void sa2_ids_append_all(sa2_ids *ids, const int32_t *data, size_t n);
void sa2_ids_clear(sa2_ids *ids);
void sa2_ids_free(sa2_ids *ids);

/* SA2_OK, or SA2_ERR_NOMEM when an append has failed. */
sa2_status sa2_bytes_status(const sa2_bytes *bytes, sa2_error *err);
sa2_status sa2_ids_status(const sa2_ids *ids, sa2_error *err);

#endif
