/* sounds.h - sounds named on the command line or in a conversation, read for the engine.
 */
#ifndef SA2_TOOLS_SOUNDS_H
#define SA2_TOOLS_SOUNDS_H

#include "runtime/audio/audio_file.h"
#include "runtime/engine.h"
#include "tokenizer/chat.h"
#include "tools/options.h"

/* How to read what has no header: "s16le:16000" or "f32le:48000:2" (encoding, rate, channels).
 * NULL leaves *source as it is. Errors: SA2_ERR_ARG. */
sa2_status sa2_sound_raw(sa2_audio_source *source, const char *format, sa2_error *err);

/* Tells what is wrong with such a format (NULL: nothing) before a model is loaded. */
bool sa2_sound_raw_refused(const sa2_usage_text *usage, const char *format);

/* A path, "-" for standard input. The caller destroys *audio. Rate as the engine wants it. */
sa2_status sa2_sound_read(sa2_audio *audio, const char *path, const char *raw, bool mean,
                          sa2_error *err);

/* An audio item of a conversation: a path or base64 of a file (also as a data: URL). Other URLs are not fetched. */
sa2_status sa2_sound_of_item(sa2_audio *audio, const sa2_chat_item *item, sa2_error *err);

typedef struct sa2_sound_facts {
    int64_t n_samples; /* of a channel */
    int rate, channels;
    double seconds;
} sa2_sound_facts;

/* Decodes all of it to count: headers lie. Errors: those of the reader; SA2_ERR_FORMAT no samples at all. */
sa2_status sa2_sound_measure(sa2_sound_facts *facts, const sa2_audio_source *source,
                             sa2_error *err);

sa2_sound sa2_sound_view(const sa2_audio *audio);

#endif
