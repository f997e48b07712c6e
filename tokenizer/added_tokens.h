/* added_tokens.h - finds the longest added token at a place in a text.
 *
 * The tokens lie sorted by their bytes, so those that begin with a certain text are a range; each
 * further byte narrows it, and it is empty after a byte or two where no token stands.
 */
#ifndef SA2_TOKENIZER_ADDED_TOKENS_H
#define SA2_TOKENIZER_ADDED_TOKENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sa2_added_token {
    const char *bytes;
    size_t n; /* at least 1 */
    int32_t id;
} sa2_added_token;

typedef struct sa2_added_tokens {
    sa2_added_token *tokens;
    size_t n;
    bool starts[256]; /* is there a token with this first byte? */
} sa2_added_tokens;

/* Sorts `tokens`, which stay the caller's and must live as long. */
void sa2_added_tokens_init(sa2_added_tokens *added, sa2_added_token *tokens, size_t n);

/* The longest token that text [n bytes] begins with, or NULL. */
const sa2_added_token *sa2_added_tokens_match(const sa2_added_tokens *added, const char *text,
                                              size_t n);

#endif
