/* byte_symbols.h - the printable characters that stand for bytes in vocab.json and merges.
 *
 * The map of GPT-2 (Radford et al. 2019; bytes_to_unicode() in its encoder.py): a printable byte
 * stands for itself, the other 68 are, in order, U+0100 to U+0143. So a space is U+0120.
 */
#ifndef SA2_TOKENIZER_BYTE_SYMBOLS_H
#define SA2_TOKENIZER_BYTE_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>

/* Writes the bytes that `symbols` stand for, at most strlen(symbols) of them, and their number.
 * False when a character stands for no byte. */
bool sa2_byte_symbols_to_bytes(const char *symbols, char *bytes, size_t *n);

#endif
