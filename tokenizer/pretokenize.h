/* pretokenize.h - where a pre-token ends: merges never cross these borders.
 *
 * The pattern of Qwen2 (transformers, tokenization_qwen2.py), matched by hand:
 *   (?i:'s|'t|'re|'ve|'m|'ll|'d) | [^\r\n\p{L}\p{N}]?\p{L}+ | \p{N}
 *   | ?[^\s\p{L}\p{N}]+[\r\n]* | \s*[\r\n]+ | \s+(?!\S) | \s+
 */
#ifndef SA2_TOKENIZER_PRETOKENIZE_H
#define SA2_TOKENIZER_PRETOKENIZE_H

#include <stddef.h>

/* The end of the pre-token that starts at text [n > 0 bytes of well-formed UTF-8]; at least 1.
 * All the ends of a text take O(n) together. */
size_t sa2_pretoken_end(const char *text, size_t n);

#endif
