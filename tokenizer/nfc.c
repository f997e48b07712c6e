#include "tokenizer/nfc.h"

#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "tokenizer/utf8.h"

enum {
    FIRST_UNCERTAIN = 0x300, /* the first combining mark; all below is composed as it stands */
    CLASSES = 256,           /* canonical combining classes */
};

/* Does a character neither change, nor combine with the one before, nor move? What combines with
 * the one before is a mark or a Hangul jamo. */
static bool is_inert(int32_t code)
{
    if (code >= 0x1100 && code <= 0x11ff)
        return false;
    const utf8proc_property_t *property = utf8proc_get_property(code);
    bool mark = property->category == UTF8PROC_CATEGORY_MN ||
                property->category == UTF8PROC_CATEGORY_MC ||
                property->category == UTF8PROC_CATEGORY_ME;
    bool decomposes = property->decomp_seqindex != UINT16_MAX && property->decomp_type == 0;
    return !mark && !decomposes && property->combining_class == 0;
}

bool sa2_nfc_certain(const char *text, size_t n)
{
    size_t at = 0;
    while (at < n) {
        if ((unsigned char)text[at] < 0xcc) { /* the lead byte of U+0300 */
            at++;
            continue;
        }
        int32_t code;
        at += sa2_utf8_next(text + at, &code);
        if (code >= FIRST_UNCERTAIN && !is_inert(code))
            return false;
    }
    return true;
}

/* Puts marks [n] into the order of their combining classes, equal ones as they were: counting
 * sort, since a run of marks may be as long as the text. */
static bool order_marks(int32_t *marks, size_t n)
{
    if (n < 2)
        return true;
    size_t starts[CLASSES + 1] = {0};
    int32_t *copy = malloc(n * sizeof *copy);
    if (copy == NULL)
        return false;
    memcpy(copy, marks, n * sizeof *copy);
    for (size_t i = 0; i < n; i++)
        starts[utf8proc_get_property(copy[i])->combining_class + 1]++;
    for (size_t i = 1; i <= CLASSES; i++)
        starts[i] += starts[i - 1];
    for (size_t i = 0; i < n; i++)
        marks[starts[utf8proc_get_property(copy[i])->combining_class]++] = copy[i];
    free(copy);
    return true;
}

static bool order_all(int32_t *codes, size_t n)
{
    size_t at = 0;
    while (at < n) {
        size_t end = at;
        while (end < n && utf8proc_get_property(codes[end])->combining_class != 0)
            end++;
        if (!order_marks(codes + at, end - at))
            return false;
        at = end + 1;
    }
    return true;
}

static void decompose(const char *text, size_t n, sa2_ids *codes)
{
    size_t at = 0;
    while (at < n) {
        int32_t code;
        at += sa2_utf8_next(text + at, &code);
        utf8proc_int32_t parts[8]; /* the longest canonical decomposition has 4 */
        int boundary = 0;
        utf8proc_ssize_t n_parts =
            utf8proc_decompose_char(code, parts, 8, UTF8PROC_DECOMPOSE, &boundary);
        sa2_ids_append_all(codes, parts, (size_t)n_parts);
    }
}

bool sa2_nfc(const char *text, size_t n, sa2_ids *codes, sa2_bytes *out)
{
    sa2_ids_clear(codes);
    decompose(text, n, codes);
    if (codes->failed || !order_all(codes->data, codes->n))
        return false;
    utf8proc_ssize_t composed = utf8proc_normalize_utf32(codes->data, (utf8proc_ssize_t)codes->n,
                                                         UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    for (utf8proc_ssize_t i = 0; i < composed; i++) {
        char character[4];
        sa2_bytes_append(out, character, sa2_utf8_write(codes->data[i], character));
    }
    return !out->failed;
}
