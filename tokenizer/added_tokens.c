#include "tokenizer/added_tokens.h"

#include <stdlib.h>
#include <string.h>

static int by_bytes(const void *left, const void *right)
{
    const sa2_added_token *a = left;
    const sa2_added_token *b = right;
    int order = memcmp(a->bytes, b->bytes, a->n < b->n ? a->n : b->n);
    return order != 0 ? order : (a->n > b->n) - (a->n < b->n);
}

void sa2_added_tokens_init(sa2_added_tokens *added, sa2_added_token *tokens, size_t n)
{
    *added = (sa2_added_tokens){.tokens = tokens, .n = n};
    if (n > 0)
        qsort(tokens, n, sizeof *tokens, by_bytes);
    for (size_t i = 0; i < n; i++)
        added->starts[(unsigned char)tokens[i].bytes[0]] = true;
}

/* The byte at `depth`, or -1 past the end: shorter tokens sort first. */
static int byte_at(const sa2_added_token *token, size_t depth)
{
    return depth < token->n ? (unsigned char)token->bytes[depth] : -1;
}

/* The first token in [from, to) whose byte at `depth` is at least `byte`. */
static size_t lower_bound(const sa2_added_token *tokens, size_t from, size_t to, size_t depth,
                          int byte)
{
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (byte_at(&tokens[middle], depth) < byte)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

const sa2_added_token *sa2_added_tokens_match(const sa2_added_tokens *added, const char *text,
                                              size_t n)
{
    const sa2_added_token *longest = NULL;
    size_t from = 0;
    size_t to = added->n;
    for (size_t depth = 0; depth < n && from < to; depth++) {
        int byte = (unsigned char)text[depth];
        from = lower_bound(added->tokens, from, to, depth, byte);
        to = lower_bound(added->tokens, from, to, depth, byte + 1);
        if (from < to && added->tokens[from].n == depth + 1)
            longest = &added->tokens[from];
    }
    return longest;
}
