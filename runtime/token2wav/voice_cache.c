#include "runtime/token2wav/voice_cache.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "loader/mapped_file.h"
#include "loader/partial_file.h"
#include "runtime/token2wav/voice_file.h"

typedef struct entry {
    sa2_voice voice; /* n_tokens 0: the place is free */
    sa2_voice_key key;
    int users;
    int64_t used; /* the get that was the last one */
} entry;

struct sa2_voice_cache {
    sa2_voice_encoder *encoder;
    sa2_voice_form form;
    char folder[SA2_PATH_BYTES]; /* "": none */
    int64_t gets;
    int max_voices;
    entry entries[];
};

/* ---- lifetime ---- */

static int64_t vocab_of(const sa2_voice_encoder *e)
{
    int64_t vocab = 1;
    for (int i = 0; i < e->tokenizer.dims.digits; i++)
        vocab *= 3;
    return vocab;
}

static sa2_status use_folder(sa2_voice_cache *cache, const char *folder, sa2_error *err)
{
    struct stat found;
    int n = snprintf(cache->folder, sizeof cache->folder, "%s", folder);
    if (n < 1 || n >= (int)sizeof cache->folder)
        return sa2_fail(err, SA2_ERR_ARG, "voices: a folder of 1 to %d bytes expected, \"%.60s\"",
                        (int)sizeof cache->folder - 1, folder);
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return sa2_fail(err, SA2_ERR_IO, "voices %s: %s", folder, strerror(errno));
    if (stat(folder, &found) != 0 || !S_ISDIR(found.st_mode))
        return sa2_fail(err, SA2_ERR_IO, "voices %s: not a folder", folder);
    return SA2_OK;
}

sa2_status sa2_voice_cache_create(sa2_voice_cache **cache, sa2_voice_encoder *encoder,
                                  const char *folder, int max_voices, sa2_error *err)
{
    if (max_voices < 1)
        return sa2_fail(err, SA2_ERR_ARG, "voices: %d in memory, 1 or more expected", max_voices);
    sa2_voice_cache *made = calloc(1, sizeof *made + (size_t)max_voices * sizeof made->entries[0]);
    if (made == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "voices: no memory for %d", max_voices);
    made->encoder = encoder;
    made->max_voices = max_voices;
    made->form = (sa2_voice_form){.vocab = vocab_of(encoder),
                                  .n_speaker = encoder->speaker.dims.embedding,
                                  .mel_bins = encoder->options.mel_bins,
                                  .frames_per_token = encoder->options.frames_per_token};
    sa2_status st = folder != NULL ? use_folder(made, folder, err) : SA2_OK;
    if (st == SA2_OK)
        *cache = made;
    else
        free(made);
    return st;
}

void sa2_voice_cache_destroy(sa2_voice_cache *cache)
{
    if (cache == NULL)
        return;
    for (int i = 0; i < cache->max_voices; i++)
        sa2_voice_destroy(&cache->entries[i].voice);
    free(cache);
}

/* ---- keys ---- */

/* What the bytes alone do not say. No padding: it is hashed as it lies. */
typedef struct reading {
    uint64_t identity;
    int32_t partial, least_tokens, mel_bins, frames_per_token;
    int32_t pcm, pcm_rate, pcm_channels, max_seconds;
} reading;

static sa2_voice_key key_of(const sa2_voice_cache *cache, const sa2_audio_source *source)
{
    const sa2_voice_options *o = &cache->encoder->options;
    bool raw = source->pcm != SA2_PCM_NONE;
    reading how = {
        .identity = cache->encoder->identity,
        .partial = (int32_t)o->partial,
        .least_tokens = o->least_tokens,
        .mel_bins = o->mel_bins,
        .frames_per_token = o->frames_per_token,
        .pcm = (int32_t)source->pcm,
        .pcm_rate = raw ? source->pcm_rate : 0,
        .pcm_channels = raw ? source->pcm_channels : 0,
        .max_seconds = o->max_seconds,
    };
    XXH128_canonical_t canonical;
    sa2_voice_key key;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_withSeed(source->bytes, source->n_bytes,
                                                               XXH3_64bits(&how, sizeof how)));
    static_assert(sizeof key.bytes == sizeof canonical.digest, "a key is such a hash");
    memcpy(key.bytes, canonical.digest, sizeof key.bytes);
    return key;
}

/* ---- memory ---- */

static entry *find_in_memory(sa2_voice_cache *cache, const sa2_voice_key *key)
{
    for (int i = 0; i < cache->max_voices; i++) {
        entry *e = &cache->entries[i];
        if (e->voice.n_tokens > 0 && memcmp(&e->key, key, sizeof *key) == 0)
            return e;
    }
    return NULL;
}

/* A free place, or that of the voice which nobody uses for the longest time; NULL: all are used. */
static entry *find_room(sa2_voice_cache *cache)
{
    entry *best = NULL;
    for (int i = 0; i < cache->max_voices; i++) {
        entry *e = &cache->entries[i];
        if (e->voice.n_tokens == 0)
            return e;
        if (e->users == 0 && (best == NULL || e->used < best->used))
            best = e;
    }
    return best;
}

/* ---- the folder ---- */

static void note(sa2_voice_report *report, const char *what, const sa2_error *why)
{
    snprintf(report->note, sizeof report->note, "%s: %.400s", what, why->message);
}

/* False: there is no folder, or its path is too long for a name in it. */
static bool put_path(char path[SA2_PATH_BYTES], const sa2_voice_cache *cache,
                     const sa2_voice_key *key)
{
    char name[2 * sizeof key->bytes + 1];
    for (size_t i = 0; i < sizeof key->bytes; i++)
        snprintf(name + 2 * i, 3, "%02x", key->bytes[i]);
    int n = snprintf(path, SA2_PATH_BYTES, "%s/%s.voice", cache->folder, name);
    return cache->folder[0] != '\0' && n < SA2_PATH_BYTES;
}

/* From the folder, else by encoding, which the folder is then told. */
static sa2_status find_or_encode(sa2_voice_cache *cache, const sa2_audio_source *source,
                                 const sa2_voice_key *key, sa2_voice *voice,
                                 sa2_voice_report *report, sa2_error *err)
{
    char path[SA2_PATH_BYTES];
    bool has_path = put_path(path, cache, key);
    sa2_error aside = {0};
    if (has_path && access(path, F_OK) == 0) {
        if (sa2_voice_file_read(voice, path, key, &cache->form, &aside) == SA2_OK) {
            report->origin = SA2_VOICE_FROM_FOLDER;
            return SA2_OK;
        }
        note(report, "made again", &aside);
    }
    sa2_status st = sa2_voice_encode(cache->encoder, source, voice, err);
    report->origin = SA2_VOICE_ENCODED;
    aside = (sa2_error){0};
    if (st == SA2_OK && has_path && sa2_voice_file_write(path, key, voice, &aside) != SA2_OK)
        note(report, "not kept", &aside);
    return st;
}

/* ---- get and release ---- */

static sa2_status get_of_bytes(sa2_voice_cache *cache, const sa2_audio_source *source,
                               const sa2_voice **voice, sa2_voice_report *report, sa2_error *err)
{
    sa2_voice_key key = key_of(cache, source);
    entry *e = find_in_memory(cache, &key);
    if (e != NULL) {
        report->origin = SA2_VOICE_FROM_MEMORY;
    } else {
        e = find_room(cache);
        if (e == NULL)
            return sa2_fail(err, SA2_ERR_LIMIT, "voices: all %d that fit in memory are in use",
                            cache->max_voices);
        sa2_voice fresh;
        sa2_status st = find_or_encode(cache, source, &key, &fresh, report, err);
        if (st != SA2_OK)
            return st;
        sa2_voice_destroy(&e->voice);
        *e = (entry){.voice = fresh, .key = key};
    }
    e->users++;
    e->used = ++cache->gets;
    *voice = &e->voice;
    return SA2_OK;
}

sa2_status sa2_voice_cache_get(sa2_voice_cache *cache, const sa2_audio_source *source,
                               const sa2_voice **voice, sa2_voice_report *report, sa2_error *err)
{
    sa2_voice_report unread;
    report = report != NULL ? report : &unread;
    *report = (sa2_voice_report){0};
    if (source->bytes != NULL)
        return get_of_bytes(cache, source, voice, report, err);
    if (source->path == NULL)
        return sa2_fail(err, SA2_ERR_ARG, "a voice without path and bytes");
    /* what is hashed is what is decoded, even when the file changes its name meanwhile */
    sa2_mapped_file file;
    sa2_status st = sa2_mapped_file_open(&file, source->path, err);
    if (st != SA2_OK)
        return st;
    sa2_audio_source mapped = *source;
    mapped.bytes = file.data;
    mapped.n_bytes = file.bytes;
    st = get_of_bytes(cache, &mapped, voice, report, err);
    sa2_mapped_file_close(&file);
    return st;
}

void sa2_voice_cache_release(sa2_voice_cache *cache, const sa2_voice *voice)
{
    for (int i = 0; i < cache->max_voices; i++)
        if (&cache->entries[i].voice == voice) {
            assert(cache->entries[i].users > 0);
            cache->entries[i].users--;
            return;
        }
    assert(!"a voice of this cache");
}
