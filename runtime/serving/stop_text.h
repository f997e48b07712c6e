/* stop_text.h - stop strings in streamed text.
 *
 * Text that may be the start of a stop string is held back. The result depends on the text alone, not on
 * how it is cut: the stop string that is complete first counts, the longest of several.
 */
#ifndef SA2_RUNTIME_SERVING_STOP_TEXT_H
#define SA2_RUNTIME_SERVING_STOP_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* The strings of a request; shared by its answers. */
typedef struct sa2_stop_strings {
    const char *const *strings; /* [n], none of them empty */
    int n;
    bool keep; /* the string that matched stays in the text */
} sa2_stop_strings;

enum { SA2_STOP_MAX_BYTES = 256 }; /* of one string */

/* The end of what one channel said so far. Zero-initialise it. */
typedef struct sa2_stop_text {
    char window[2 * SA2_STOP_MAX_BYTES];
    int n;       /* bytes in the window */
    int n_given; /* of them already handed out */
    int match;   /* index of the string that was found, valid after a push returned true */
} sa2_stop_text;

typedef void (*sa2_stop_sink)(void *context, const char *text, size_t n);

/* Hands text [n] on as far as it is certain. True: a stop string is complete, the text before it (or with it) was
 * handed on, and the rest of `text` is dropped. */
bool sa2_stop_text_push(sa2_stop_text *stop, const sa2_stop_strings *strings, const char *text,
                        size_t n, sa2_stop_sink sink, void *context);

/* The same for a short text (a tag with a meaning of its own, SA2_STOP_MAX_BYTES at most) that is not handed
 * on. What is held back goes first. */
bool sa2_stop_text_push_silent(sa2_stop_text *stop, const sa2_stop_strings *strings,
                               const char *text, size_t n, sa2_stop_sink sink, void *context);

/* At the end: what is held back. */
void sa2_stop_text_flush(sa2_stop_text *stop, sa2_stop_sink sink, void *context);

#endif
