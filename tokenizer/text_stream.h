/* text_stream.h - token ids to text, as they come.
 *
 * A character may be spread over several tokens. Bytes that can still become a character are held
 * back; what can no longer become one turns into U+FFFD at once, one for each maximal subpart
 * (Unicode 15, section 3.9). The text of a sequence of ids does not depend on how it is cut.
 */
#ifndef SA2_TOKENIZER_TEXT_STREAM_H
#define SA2_TOKENIZER_TEXT_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include "tokenizer/growing.h"
#include "tokenizer/tokenizer.h"

/* One output channel. Zero-initialise it; it owns nothing. */
typedef struct sa2_text_stream {
    char held[3]; /* the start of a character */
    size_t n_held;
} sa2_text_stream;

/* Appends to `out` the text that bytes [n], or the token `id`, complete. An id that no token has
 * adds nothing. `skip_special` leaves out special tokens and <audio_N>. */
void sa2_text_stream_push(sa2_text_stream *stream, const char *bytes, size_t n, sa2_bytes *out);
void sa2_text_stream_push_id(sa2_text_stream *stream, const sa2_tokenizer *tokenizer, int32_t id,
                             bool skip_special, sa2_bytes *out);

/* At the end: a character that never came is one U+FFFD. The stream is then as new. */
void sa2_text_stream_flush(sa2_text_stream *stream, sa2_bytes *out);

/* Appends the text of ids [n]. Errors: SA2_ERR_NOMEM. */
sa2_status sa2_decode(const sa2_tokenizer *tokenizer, const int32_t *ids, size_t n,
                      bool skip_special, sa2_bytes *out, sa2_error *err);

#endif
