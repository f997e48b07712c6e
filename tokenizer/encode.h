/* encode.h - text to token ids.
 *
 * The text is cut at added tokens; each gap is brought to NFC, cut into pre-tokens
 * (pretokenize.h) and merged (bpe.h). No token is added at the start or the end.
 */
#ifndef SA2_TOKENIZER_ENCODE_H
#define SA2_TOKENIZER_ENCODE_H

#include <stddef.h>

#include "kernels/base/status.h"
#include "tokenizer/growing.h"
#include "tokenizer/tokenizer.h"

/* What changes while encoding: the cache of short pre-tokens and the work space of a merge.
 * Threads: one at a time for each encoder; encoders of one tokenizer are independent. */
typedef struct sa2_encoder sa2_encoder;

/* The tokenizer must outlive the encoder. Errors: SA2_ERR_NOMEM. */
sa2_status sa2_encoder_create(sa2_encoder **encoder, const sa2_tokenizer *tokenizer,
                              sa2_error *err);
void sa2_encoder_destroy(sa2_encoder *encoder); /* NULL is fine */
const sa2_tokenizer *sa2_encoder_tokenizer(const sa2_encoder *encoder);

/* Bytes [from, to) of a text in which no added token is looked for, so that "<|EOT|>" written by
 * a user is seven characters. {0} is the empty span: added tokens count everywhere. */
typedef struct sa2_span {
    size_t from;
    size_t to;
} sa2_span;

/* Appends the ids of text [n bytes]. Ill-formed UTF-8 counts as U+FFFD, one for each maximal
 * subpart. Time is O(n log n) for any input.
 * Errors: SA2_ERR_LIMIT above 340 MB; SA2_ERR_NOMEM. `ids` then has a part of the result. */
sa2_status sa2_encode(sa2_encoder *encoder, const char *text, size_t n, sa2_span literal,
                      sa2_ids *ids, sa2_error *err);

#endif
