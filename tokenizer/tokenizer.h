/* tokenizer.h - the vocabulary of a model: token ids, their bytes, the merges, the added tokens.
 *
 * Byte-level BPE as Qwen2 has it, with the control and speech tokens of Step-Audio 2 added. Text
 * to ids is in encode.h, ids to text in text_stream.h. Nothing of a certain vocabulary is compiled
 * in: sizes and ids come from the source.
 */
#ifndef SA2_TOKENIZER_TOKENIZER_H
#define SA2_TOKENIZER_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/status.h"
#include "kernels/base/vocab.h"

/* What the tokenizer files of a model say. The strings need live only during create. */
typedef struct sa2_tokenizer_source {
    const sa2_vocab_entry *vocab;
    const sa2_merge_entry *merges;
    const sa2_added_entry *added;
    size_t n_vocab;
    size_t n_merges;
    size_t n_added;
} sa2_tokenizer_source;

typedef struct sa2_tokenizer sa2_tokenizer;

/* Checks and indexes `source`. Errors: SA2_ERR_FORMAT with a line for each mistake (a symbol that
 * is no byte, an id or a text given twice, a byte without a token, a merge whose parts or result
 * are no tokens); SA2_ERR_LIMIT above 2^24 entries or ids; SA2_ERR_NOMEM.
 * Threads: the object never changes; any number may use it. */
sa2_status sa2_tokenizer_create(sa2_tokenizer **tokenizer, const sa2_tokenizer_source *source,
                                sa2_error *err);
void sa2_tokenizer_destroy(sa2_tokenizer *tokenizer); /* NULL is fine */

/* One past the largest id. */
int32_t sa2_tokenizer_n_ids(const sa2_tokenizer *tokenizer);

typedef struct sa2_token {
    const char *bytes; /* of the tokenizer; followed by a 0 */
    size_t n;
    bool added;   /* else a vocabulary entry, whose bytes need not be whole characters */
    bool skipped; /* absent from text without special tokens: special ones and <audio_N> */
} sa2_token;

/* False when no token has this id (gaps, padding rows of the model, negative ids). */
bool sa2_tokenizer_token(const sa2_tokenizer *tokenizer, int32_t id, sa2_token *token);

/* The id of the added token with exactly this text, or -1. */
int32_t sa2_tokenizer_find_added(const sa2_tokenizer *tokenizer, const char *content);

#endif
