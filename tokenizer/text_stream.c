#include "tokenizer/text_stream.h"

#include <string.h>

#include "tokenizer/utf8.h"

static void emit(const char *bytes, size_t n, int32_t code, sa2_bytes *out)
{
    if (code == SA2_UTF8_BAD)
        sa2_bytes_append_text(out, SA2_UTF8_REPLACEMENT_TEXT);
    else
        sa2_bytes_append(out, bytes, n);
}

/* Finishes the held character with the first of bytes [n]; returns how many of them it took. */
static size_t finish_held(sa2_text_stream *stream, const char *bytes, size_t n, sa2_bytes *out)
{
    char joined[4];
    size_t held = stream->n_held;
    size_t taken = n < sizeof joined - held ? n : sizeof joined - held;
    memcpy(joined, stream->held, held);
    memcpy(joined + held, bytes, taken);
    int32_t code;
    size_t length = sa2_utf8_read(joined, held + taken, &code);
    if (code == SA2_UTF8_CUT) {
        memcpy(stream->held, joined, length);
        stream->n_held = length;
        return taken;
    }
    /* What was held is the start of a character, so `length` reaches at least its end. */
    stream->n_held = 0;
    emit(joined, length, code, out);
    return length - held;
}

void sa2_text_stream_push(sa2_text_stream *stream, const char *bytes, size_t n, sa2_bytes *out)
{
    size_t at = 0;
    if (stream->n_held > 0 && n > 0)
        at = finish_held(stream, bytes, n, out);
    while (at < n) {
        size_t valid = sa2_utf8_valid(bytes + at, n - at);
        sa2_bytes_append(out, bytes + at, valid);
        at += valid;
        if (at == n)
            break;
        int32_t code;
        size_t length = sa2_utf8_read(bytes + at, n - at, &code);
        if (code == SA2_UTF8_CUT) {
            memcpy(stream->held, bytes + at, length);
            stream->n_held = length;
        } else {
            emit(bytes + at, length, code, out);
        }
        at += length;
    }
}

void sa2_text_stream_push_id(sa2_text_stream *stream, const sa2_tokenizer *tokenizer, int32_t id,
                             bool skip_special, sa2_bytes *out)
{
    sa2_token token;
    if (!sa2_tokenizer_token(tokenizer, id, &token) || (skip_special && token.skipped))
        return;
    sa2_text_stream_push(stream, token.bytes, token.n, out);
}

void sa2_text_stream_flush(sa2_text_stream *stream, sa2_bytes *out)
{
    if (stream->n_held > 0)
        sa2_bytes_append_text(out, SA2_UTF8_REPLACEMENT_TEXT);
    stream->n_held = 0;
}

sa2_status sa2_decode(const sa2_tokenizer *tokenizer, const int32_t *ids, size_t n,
                      bool skip_special, sa2_bytes *out, sa2_error *err)
{
    sa2_text_stream stream = {0};
    for (size_t i = 0; i < n; i++)
        sa2_text_stream_push_id(&stream, tokenizer, ids[i], skip_special, out);
    sa2_text_stream_flush(&stream, out);
    return sa2_bytes_status(out, err);
}
