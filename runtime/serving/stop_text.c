#include "runtime/serving/stop_text.h"

#include <string.h>

/* The longest string that the window ends with, or -1. */
static int complete_string(const sa2_stop_text *stop, const sa2_stop_strings *strings)
{
    int best = -1;
    size_t best_bytes = 0, n = (size_t)stop->n;
    for (int i = 0; i < strings->n; i++) {
        size_t bytes = strlen(strings->strings[i]);
        if (bytes <= n && bytes > best_bytes &&
            memcmp(stop->window + n - bytes, strings->strings[i], bytes) == 0) {
            best = i;
            best_bytes = bytes;
        }
    }
    return best;
}

/* The bytes at the end of the window that may be the start of a string. */
static int open_bytes(const sa2_stop_text *stop, const sa2_stop_strings *strings)
{
    int longest = 0;
    for (int i = 0; i < strings->n; i++) {
        int most = (int)strlen(strings->strings[i]) - 1;
        for (int k = most < stop->n ? most : stop->n; k > longest; k--)
            if (memcmp(stop->window + stop->n - k, strings->strings[i], (size_t)k) == 0)
                longest = k;
    }
    return longest;
}

static void give_until(sa2_stop_text *stop, int end, sa2_stop_sink sink, void *context)
{
    if (end > stop->n_given) {
        sink(context, stop->window + stop->n_given, (size_t)(end - stop->n_given));
        stop->n_given = end;
    }
}

/* Keeps what a string may still need. What goes has been given: less than one string is held back. */
static void slide(sa2_stop_text *stop)
{
    int gone = stop->n - SA2_STOP_MAX_BYTES;
    memmove(stop->window, stop->window + gone, SA2_STOP_MAX_BYTES);
    stop->n -= gone;
    stop->n_given -= gone;
}

/* Adds text to the window; true when a string is complete. */
static bool append(sa2_stop_text *stop, const sa2_stop_strings *strings, const char *text, size_t n,
                   sa2_stop_sink sink, void *context)
{
    for (size_t i = 0; i < n; i++) {
        if (stop->n == (int)sizeof stop->window) {
            give_until(stop, stop->n - open_bytes(stop, strings), sink, context);
            slide(stop);
        }
        stop->window[stop->n++] = text[i];
        int match = complete_string(stop, strings);
        if (match < 0)
            continue;
        int bytes = (int)strlen(strings->strings[match]);
        give_until(stop, strings->keep ? stop->n : stop->n - bytes, sink, context);
        stop->match = match;
        return true;
    }
    return false;
}

bool sa2_stop_text_push(sa2_stop_text *stop, const sa2_stop_strings *strings, const char *text,
                        size_t n, sa2_stop_sink sink, void *context)
{
    if (strings->n == 0) {
        sink(context, text, n);
        return false;
    }
    if (append(stop, strings, text, n, sink, context))
        return true;
    give_until(stop, stop->n - open_bytes(stop, strings), sink, context);
    return false;
}

bool sa2_stop_text_push_silent(sa2_stop_text *stop, const sa2_stop_strings *strings,
                               const char *text, size_t n, sa2_stop_sink sink, void *context)
{
    if (strings->n == 0)
        return false;
    if (stop->n + (int)n > (int)sizeof stop->window) {
        give_until(stop, stop->n - open_bytes(stop, strings), sink, context);
        slide(stop);
    }
    int held_end = stop->n;
    if (append(stop, strings, text, n, sink, context))
        return true;
    give_until(stop, held_end, sink, context);
    stop->n_given = stop->n;
    return false;
}

void sa2_stop_text_flush(sa2_stop_text *stop, sa2_stop_sink sink, void *context)
{
    give_until(stop, stop->n, sink, context);
}
