/* nfc.h - Unicode normalization form C (Unicode Standard Annex 15).
 */
#ifndef SA2_TOKENIZER_NFC_H
#define SA2_TOKENIZER_NFC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tokenizer/growing.h"

/* True when text [n bytes, well-formed] is in form C for sure; false is no statement. */
bool sa2_nfc_certain(const char *text, size_t n);

/* Appends text [n bytes, well-formed] in form C. `codes` is room to work in. O(n) for any text.
 * False when there is no memory. */
bool sa2_nfc(const char *text, size_t n, sa2_ids *codes, sa2_bytes *out);

#endif
