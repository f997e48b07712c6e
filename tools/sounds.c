#include "tools/sounds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/audio/audio_length.h"

sa2_status sa2_sound_raw(sa2_audio_source *source, const char *format, sa2_error *err)
{
    if (format == NULL)
        return SA2_OK;
    char encoding[8] = "";
    int rate = 0, channels = 1, used = 0;
    int n = sscanf(format, "%7[a-z0-9]:%9d%n:%9d%n", encoding, &rate, &used, &channels, &used);
    if (n >= 2 && format[used] == '\0' && strcmp(encoding, "s16le") == 0)
        source->pcm = SA2_PCM_S16LE;
    else if (n >= 2 && format[used] == '\0' && strcmp(encoding, "f32le") == 0)
        source->pcm = SA2_PCM_F32LE;
    else
        return sa2_fail(err, SA2_ERR_ARG,
                        "s16le:RATE[:CHANNELS] or f32le:RATE[:CHANNELS] expected, \"%s\" found",
                        format);
    source->pcm_rate = rate;
    source->pcm_channels = channels;
    return SA2_OK;
}

bool sa2_sound_raw_refused(const sa2_usage_text *usage, const char *format)
{
    sa2_audio_source source = {0};
    sa2_error err = {0};
    if (sa2_sound_raw(&source, format, &err) == SA2_OK)
        return false;
    sa2_options_refuse(usage, "--raw: %s", err.message);
    return true;
}

sa2_status sa2_sound_read(sa2_audio *audio, const char *path, const char *raw, bool mean,
                          sa2_error *err)
{
    sa2_audio_source source = {.path = path};
    sa2_status st = sa2_sound_raw(&source, raw, err);
    if (st != SA2_OK)
        return st;
    return sa2_audio_read(audio, &source, mean ? SA2_CHANNEL_MEAN : SA2_CHANNEL_FIRST,
                          SA2_AUDIO_RATE, err);
}

/* Value of a base64 character (RFC 4648, section 4), or -1. */
static int sextet(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Writes at most 3 n / 4 bytes; white space is passed over. False for anything else. */
static bool decode_base64(const char *text, size_t n, unsigned char *bytes, size_t *n_bytes)
{
    uint32_t bits = 0;
    int n_bits = 0;
    *n_bytes = 0;
    for (size_t i = 0; i < n && text[i] != '='; i++) {
        if (text[i] == '\n' || text[i] == '\r' || text[i] == ' ')
            continue;
        int value = sextet(text[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            bytes[(*n_bytes)++] = (unsigned char)(bits >> n_bits & 0xff);
        }
    }
    return true;
}

static sa2_status read_base64(sa2_audio *audio, const char *text, size_t n, sa2_error *err)
{
    unsigned char *bytes = malloc(n / 4 * 3 + 4);
    if (bytes == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "sound: no memory for %zu characters of base64", n);
    sa2_audio_source source = {.path = "base64 sound", .bytes = bytes};
    sa2_status st;
    if (decode_base64(text, n, bytes, &source.n_bytes))
        st = sa2_audio_read(audio, &source, SA2_CHANNEL_FIRST, SA2_AUDIO_RATE, err);
    else
        st = sa2_fail(err, SA2_ERR_FORMAT, "base64 sound: a character that is not base64");
    free(bytes);
    return st;
}

sa2_status sa2_sound_of_item(sa2_audio *audio, const sa2_chat_item *item, sa2_error *err)
{
    *audio = (sa2_audio){0};
    static const char mark[] = ";base64,";
    switch (item->audio_from) {
    case SA2_AUDIO_FROM_PATH:
        return sa2_sound_read(audio, item->source, NULL, false, err);
    case SA2_AUDIO_FROM_BASE64:
        return read_base64(audio, item->source, item->n_source, err);
    case SA2_AUDIO_FROM_URL: {
        const char *data =
            strncmp(item->source, "data:", 5) == 0 ? strstr(item->source, mark) : NULL;
        if (data != NULL) {
            data += sizeof mark - 1;
            return read_base64(audio, data, item->n_source - (size_t)(data - item->source), err);
        }
        return sa2_fail(err, SA2_ERR_UNSUPPORTED, "sound %.100s: a file or data: URL expected",
                        item->source);
    }
    case SA2_AUDIO_FROM_CALLER:
    case SA2_AUDIO_FROM_SAMPLES:
        break;
    }
    return sa2_fail(err, SA2_ERR_UNSUPPORTED, "sound: an audio item without sound");
}

sa2_status sa2_sound_measure(sa2_sound_facts *facts, const sa2_audio_source *source, sa2_error *err)
{
    enum { BLOCK = 4096 };
    float block[BLOCK];
    int64_t n = 0;
    sa2_audio_reader *reader = NULL;
    sa2_status st = sa2_audio_reader_open(&reader, source, err);
    if (st != SA2_OK)
        return st;
    *facts = (sa2_sound_facts){.rate = sa2_audio_reader_rate(reader),
                               .channels = sa2_audio_reader_channels(reader)};
    do {
        st = sa2_audio_reader_read(reader, SA2_CHANNEL_FIRST, block, BLOCK, &n, err);
        facts->n_samples += st == SA2_OK ? n : 0;
    } while (st == SA2_OK && n > 0);
    sa2_audio_reader_close(reader);
    facts->seconds = (double)facts->n_samples / facts->rate;
    if (st == SA2_OK && facts->n_samples == 0)
        st = sa2_fail(err, SA2_ERR_FORMAT, "%s: no samples",
                      source->path != NULL ? source->path : "sound");
    return st;
}

sa2_sound sa2_sound_view(const sa2_audio *audio)
{
    return (sa2_sound){
        .samples = audio->samples, .n_samples = audio->n_samples, .rate = audio->rate};
}
