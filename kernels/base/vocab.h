/* vocab.h - the entries of a vocabulary as plain data: what loader/ reads and tokenizer/ indexes.
 */
#ifndef SA2_KERNELS_BASE_VOCAB_H
#define SA2_KERNELS_BASE_VOCAB_H

#include <stdbool.h>
#include <stdint.h>

typedef struct sa2_vocab_entry {
    const char *symbols; /* as in vocab.json: one printable character for a byte, UTF-8 */
    int32_t id;
} sa2_vocab_entry;

typedef struct sa2_merge_entry {
    const char *left; /* symbols, as above; the rank of a merge is its index */
    const char *right;
} sa2_merge_entry;

typedef struct sa2_added_entry {
    const char *content; /* the text itself, UTF-8 */
    int32_t id;
    bool special; /* left out by decoding that skips special tokens */
} sa2_added_entry;

#endif
