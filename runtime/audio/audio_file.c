#include "runtime/audio/audio_file.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sndfile.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernels/base/limits.h"
#include "runtime/audio/resample.h"
#include "runtime/audio/wav_header.h"

enum { BLOCK = 16384 }; /* floats decoded at once, all channels together */

/* Larger than any integer format scaled wrongly (2^31), small enough for its power to be a float. */
static const float LOUDEST = 1e12f;

struct sa2_audio_reader {
    const char *name; /* for messages; of the source, which is the caller's */
    int rate, channels;
    int max_seconds;
    int64_t n_frames; /* decoded so far */

    SNDFILE *file;              /* NULL: raw PCM */
    const unsigned char *bytes; /* of a sound in memory */
    size_t n_bytes, at;
    void *piped; /* what a pipe held; owned */
    int fd;      /* -1: none */
    bool owns_fd;

    sa2_pcm_encoding pcm;
    size_t n_partial; /* bytes of an incomplete frame, at the start of `raw` */
    unsigned char raw[BLOCK];
    float block[BLOCK];
};

/* ---- sounds in memory, as libsndfile wants them ---- */

static sf_count_t memory_size(void *user)
{
    return (sf_count_t)((sa2_audio_reader *)user)->n_bytes;
}

static sf_count_t memory_seek(sf_count_t offset, int whence, void *user)
{
    sa2_audio_reader *r = user;
    sf_count_t size = (sf_count_t)r->n_bytes;
    sf_count_t base = whence == SEEK_CUR ? (sf_count_t)r->at : whence == SEEK_END ? size : 0;
    if (offset < -base || offset > size - base)
        return -1;
    r->at = (size_t)(base + offset);
    return base + offset;
}

static sf_count_t memory_read(void *out, sf_count_t count, void *user)
{
    sa2_audio_reader *r = user;
    size_t left = r->n_bytes - r->at;
    size_t n = count < 0 ? 0 : (size_t)count < left ? (size_t)count : left;
    memcpy(out, r->bytes + r->at, n);
    r->at += n;
    return (sf_count_t)n;
}

static sf_count_t memory_tell(void *user)
{
    return (sf_count_t)((sa2_audio_reader *)user)->at;
}

/* ---- opening ---- */

/* read(2), again after a signal. */
static ssize_t read_some(int fd, void *out, size_t bytes)
{
    ssize_t n;
    do
        n = read(fd, out, bytes);
    while (n < 0 && errno == EINTR);
    return n;
}

static sa2_status read_pipe(sa2_audio_reader *r, sa2_error *err)
{
    size_t room = 1 << 20, n = 0;
    for (;;) {
        if (r->piped == NULL || n == room) {
            if (n > 0)
                room *= 2;
            void *grown = realloc(r->piped, room);
            if (grown == NULL)
                return sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory for %zu bytes", r->name, room);
            r->piped = grown;
        }
        ssize_t got = read_some(r->fd, (char *)r->piped + n, room - n);
        if (got < 0)
            return sa2_fail(err, SA2_ERR_IO, "%s: %s", r->name, strerror(errno));
        if (got == 0)
            break;
        n += (size_t)got;
        if (n > SA2_LIMIT_SOUND_PIPE_BYTES)
            return sa2_fail(err, SA2_ERR_LIMIT,
                            "%s: more than %d bytes, the longest sound file taken from a pipe",
                            r->name, SA2_LIMIT_SOUND_PIPE_BYTES);
    }
    r->bytes = r->piped;
    r->n_bytes = n;
    return SA2_OK;
}

/* Opens the path and finds out what it is; *size is -1 for a pipe. */
static sa2_status open_path(sa2_audio_reader *r, const char *path, int64_t *size, sa2_error *err)
{
    struct stat info;
    if (strcmp(path, "-") == 0) {
        r->name = "standard input";
        r->fd = STDIN_FILENO;
    } else {
        r->fd = open(path, O_RDONLY | O_CLOEXEC);
        r->owns_fd = true;
    }
    if (r->fd < 0 || fstat(r->fd, &info) != 0)
        return sa2_fail(err, SA2_ERR_IO, "%s: %s", r->name, strerror(errno));
    if (S_ISDIR(info.st_mode))
        return sa2_fail(err, SA2_ERR_IO, "%s: a folder, a sound expected", r->name);
    *size = S_ISREG(info.st_mode) ? (int64_t)info.st_size : -1;
    return SA2_OK;
}

static sa2_status open_decoder(sa2_audio_reader *r, SF_INFO *info, sa2_error *err)
{
    *info = (SF_INFO){0};
    r->at = 0;
    if (r->bytes != NULL) {
        SF_VIRTUAL_IO memory = {
            .get_filelen = memory_size,
            .seek = memory_seek,
            .read = memory_read,
            .tell = memory_tell,
        };
        r->file = sf_open_virtual(&memory, SFM_READ, info, r);
    } else {
        r->file = sf_open_fd(r->fd, SFM_READ, info, SF_FALSE);
    }
    if (r->file == NULL && sf_error(NULL) == SF_ERR_UNRECOGNISED_FORMAT)
        return sa2_fail(err, SA2_ERR_FORMAT,
                        "%s: not a sound file (WAV, FLAC, Ogg, MP3, AIFF, AU, CAF can be read)",
                        r->name);
    if (r->file == NULL)
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: a sound that cannot be decoded: %s", r->name,
                        sf_strerror(NULL));
    return SA2_OK;
}

/* A WAV that says it holds nothing: looks itself, in a copy whose header it may correct. */
static sa2_status open_unfinished_wav(sa2_audio_reader *r, SF_INFO *info, sa2_error *err)
{
    sf_close(r->file);
    r->file = NULL;
    if (r->bytes == NULL) {
        if (lseek(r->fd, 0, SEEK_SET) < 0)
            return sa2_fail(err, SA2_ERR_IO, "%s: %s", r->name, strerror(errno));
        sa2_status st = read_pipe(r, err);
        if (st != SA2_OK)
            return st;
    } else if (r->piped == NULL) {
        r->piped = malloc(r->n_bytes);
        if (r->piped == NULL)
            return sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory for %zu bytes", r->name, r->n_bytes);
        memcpy(r->piped, r->bytes, r->n_bytes);
        r->bytes = r->piped;
    }
    sa2_wav_complete(r->piped, r->n_bytes);
    return open_decoder(r, info, err);
}

static sa2_status open_sound_file(sa2_audio_reader *r, int64_t size, sa2_error *err)
{
    SF_INFO info;
    sa2_status st = SA2_OK;
    if (r->bytes == NULL && size < 0)
        st = read_pipe(r, err);
    if (st == SA2_OK && (r->bytes != NULL ? r->n_bytes == 0 : size == 0))
        st = sa2_fail(err, SA2_ERR_FORMAT, "%s: empty, a sound file expected", r->name);
    if (st == SA2_OK)
        st = open_decoder(r, &info, err);
    if (st == SA2_OK && info.frames == 0 && (info.format & SF_FORMAT_TYPEMASK) == SF_FORMAT_WAV)
        st = open_unfinished_wav(r, &info, err);
    if (st != SA2_OK)
        return st;
    r->rate = info.samplerate;
    r->channels = info.channels;
    return SA2_OK;
}

static sa2_status check_source(const sa2_audio_reader *r, sa2_error *err)
{
    if (r->rate < SA2_LIMIT_SOUND_RATE_LEAST_HZ || r->rate > SA2_LIMIT_SOUND_RATE_HZ)
        return sa2_fail(err, SA2_ERR_LIMIT, "%s: %d Hz, %d to %d Hz expected", r->name, r->rate,
                        SA2_LIMIT_SOUND_RATE_LEAST_HZ, SA2_LIMIT_SOUND_RATE_HZ);
    if (r->channels < 1 || r->channels > SA2_LIMIT_SOUND_CHANNELS)
        return sa2_fail(err, SA2_ERR_LIMIT, "%s: %d channels, 1 to %d expected", r->name,
                        r->channels, SA2_LIMIT_SOUND_CHANNELS);
    return SA2_OK;
}

sa2_status sa2_audio_reader_open(sa2_audio_reader **reader, const sa2_audio_source *source,
                                 sa2_error *err)
{
    *reader = NULL;
    if (source->bytes == NULL && source->path == NULL)
        return sa2_fail(err, SA2_ERR_ARG, "a sound without path and bytes");
    const char *name = source->path != NULL ? source->path : "sound in memory";
    sa2_audio_reader *r = calloc(1, sizeof *r);
    if (r == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory for a reader", name);
    r->fd = -1;
    r->name = name;
    r->bytes = source->bytes;
    r->n_bytes = source->bytes != NULL ? source->n_bytes : 0;
    r->pcm = source->pcm;
    r->rate = source->pcm_rate;
    r->channels = source->pcm_channels;
    r->max_seconds = source->max_seconds > 0 && source->max_seconds < SA2_LIMIT_SOUND_SECONDS
                         ? source->max_seconds
                         : SA2_LIMIT_SOUND_SECONDS;
    sa2_status st = SA2_OK;
    int64_t size = 0;
    if (r->bytes == NULL)
        st = open_path(r, source->path, &size, err);
    if (st == SA2_OK && r->pcm == SA2_PCM_NONE)
        st = open_sound_file(r, size, err);
    if (st == SA2_OK)
        st = check_source(r, err);
    if (st == SA2_OK)
        *reader = r;
    else
        sa2_audio_reader_close(r);
    return st;
}

void sa2_audio_reader_close(sa2_audio_reader *reader)
{
    if (reader == NULL)
        return;
    if (reader->file != NULL)
        sf_close(reader->file);
    if (reader->owns_fd && reader->fd >= 0)
        close(reader->fd);
    free(reader->piped);
    free(reader);
}

int sa2_audio_reader_rate(const sa2_audio_reader *reader)
{
    return reader->rate;
}

int sa2_audio_reader_channels(const sa2_audio_reader *reader)
{
    return reader->channels;
}

/* ---- reading ---- */

/* Up to `frames` frames of raw PCM to r->block, as many as have arrived; 0 at the end. */
static sa2_status read_pcm(sa2_audio_reader *r, int64_t frames, int64_t *n, sa2_error *err)
{
    size_t sample = r->pcm == SA2_PCM_S16LE ? sizeof(int16_t) : sizeof(float);
    size_t frame = sample * (size_t)r->channels;
    size_t want = frame * (size_t)frames;
    if (want > sizeof r->raw / frame * frame)
        want = sizeof r->raw / frame * frame;
    while (r->n_partial < frame) {
        ssize_t got = r->bytes != NULL
                          ? memory_read(r->raw + r->n_partial, (sf_count_t)(want - r->n_partial), r)
                          : read_some(r->fd, r->raw + r->n_partial, want - r->n_partial);
        if (got < 0)
            return sa2_fail(err, SA2_ERR_IO, "%s: %s", r->name, strerror(errno));
        if (got == 0) { /* the end; an incomplete frame is dropped */
            *n = 0;
            return SA2_OK;
        }
        r->n_partial += (size_t)got;
    }
    size_t whole = r->n_partial / frame;
    for (size_t i = 0; i < whole * (size_t)r->channels; i++) {
        const unsigned char *b = r->raw + i * sample;
        if (r->pcm == SA2_PCM_S16LE) {
            r->block[i] = (float)(int16_t)(uint16_t)(b[0] | b[1] << 8) / 32768.0f;
        } else {
            uint32_t bits =
                b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
            memcpy(&r->block[i], &bits, sizeof bits);
        }
    }
    r->n_partial -= whole * frame;
    memmove(r->raw, r->raw + whole * frame, r->n_partial);
    *n = (int64_t)whole;
    return SA2_OK;
}

static sa2_status decode(sa2_audio_reader *r, int64_t frames, int64_t *n, sa2_error *err)
{
    if (r->file == NULL)
        return read_pcm(r, frames, n, err);
    *n = sf_readf_float(r->file, r->block, frames);
    if (*n <= 0 && sf_error(r->file) != SF_ERR_NO_ERROR)
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: damaged after sample %lld: %s", r->name,
                        (long long)r->n_frames, sf_strerror(r->file));
    if (*n < 0)
        *n = 0;
    return SA2_OK;
}

/* r->block [n, channels] to out [n]. */
static sa2_status keep_channel(sa2_audio_reader *r, sa2_audio_channel channel, int64_t n,
                               float *out, sa2_error *err)
{
    for (int64_t i = 0; i < n; i++) {
        const float *frame = r->block + i * r->channels;
        float x = frame[0];
        if (channel == SA2_CHANNEL_MEAN) {
            for (int c = 1; c < r->channels; c++)
                x += frame[c];
            x /= (float)r->channels;
        }
        if (!(fabsf(x) <= LOUDEST))
            return sa2_fail(err, SA2_ERR_FORMAT,
                            "%s: sample %lld is %g, a number up to %g expected", r->name,
                            (long long)(r->n_frames + i), (double)x, (double)LOUDEST);
        out[i] = x;
    }
    return SA2_OK;
}

sa2_status sa2_audio_reader_read(sa2_audio_reader *reader, sa2_audio_channel channel, float *out,
                                 int64_t max, int64_t *n, sa2_error *err)
{
    int64_t frames = BLOCK / reader->channels, got = 0;
    *n = 0;
    if (max < 1)
        return SA2_OK;
    sa2_status st = decode(reader, frames < max ? frames : max, &got, err);
    if (st == SA2_OK)
        st = keep_channel(reader, channel, got, out, err);
    if (st != SA2_OK)
        return st;
    reader->n_frames += got;
    if (reader->n_frames > (int64_t)reader->max_seconds * reader->rate)
        return sa2_fail(err, SA2_ERR_LIMIT, "%s: longer than %d s, the longest sound taken",
                        reader->name, reader->max_seconds);
    *n = got;
    return SA2_OK;
}

/* ---- whole sounds ---- */

/* Room for n more samples. */
static sa2_status grow(sa2_audio *audio, int64_t *room, int64_t n, sa2_error *err)
{
    if (n <= *room - audio->n_samples)
        return SA2_OK;
    int64_t larger = audio->n_samples + n + *room;
    float *samples = realloc(audio->samples, (size_t)larger * sizeof *samples);
    if (samples == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "no memory for %lld samples", (long long)larger);
    audio->samples = samples;
    *room = larger;
    return SA2_OK;
}

static sa2_status read_all(sa2_audio *audio, sa2_audio_reader *reader, sa2_audio_channel channel,
                           sa2_resampler *resampler, sa2_error *err)
{
    float block[4096];
    int64_t room = 0, n;
    for (;;) {
        sa2_status st =
            sa2_audio_reader_read(reader, channel, block, sizeof block / sizeof block[0], &n, err);
        if (st == SA2_OK)
            st = grow(audio, &room, sa2_resampler_bound(resampler, n), err);
        if (st != SA2_OK)
            return st;
        if (n == 0)
            break;
        audio->n_samples +=
            sa2_resampler_push(resampler, block, n, audio->samples + audio->n_samples);
    }
    if (reader->n_frames == 0)
        return sa2_fail(err, SA2_ERR_FORMAT, "%s: no samples", reader->name);
    audio->n_samples += sa2_resampler_finish(resampler, audio->samples + audio->n_samples);
    return SA2_OK;
}

sa2_status sa2_audio_read(sa2_audio *audio, const sa2_audio_source *source,
                          sa2_audio_channel channel, int rate, sa2_error *err)
{
    sa2_resample_table table = {0};
    sa2_resampler resampler = {0};
    sa2_audio_reader *reader;
    *audio = (sa2_audio){.rate = rate};
    sa2_status st = sa2_audio_reader_open(&reader, source, err);
    if (st == SA2_OK)
        st = sa2_resample_table_create(&table, reader->rate, rate, err);
    if (st == SA2_OK)
        st = sa2_resampler_init(&resampler, &table, err);
    if (st == SA2_OK)
        st = read_all(audio, reader, channel, &resampler, err);
    if (st != SA2_OK)
        sa2_audio_destroy(audio);
    sa2_resampler_destroy(&resampler);
    sa2_resample_table_destroy(&table);
    sa2_audio_reader_close(reader);
    return st;
}

void sa2_audio_destroy(sa2_audio *audio)
{
    free(audio->samples);
    *audio = (sa2_audio){0};
}
